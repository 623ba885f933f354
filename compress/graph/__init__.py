"""Graphs of layers: to walk them, to rebuild them, and what hangs together in them."""

from compress.graph.graph import (
    Call,
    Trace,
    copy_model,
    inputs_of,
    leaf_layers,
    map_layers,
    replace_layers,
    trace,
)

__all__ = [
    "Call",
    "Trace",
    "copy_model",
    "inputs_of",
    "leaf_layers",
    "map_layers",
    "replace_layers",
    "trace",
]
