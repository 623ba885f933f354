"""Graphs of layers: to walk them, to rebuild them, and what hangs together in them."""

from compress.graph.graph import (
    Call,
    Trace,
    check_ties,
    inputs_of,
    leaf_layers,
    output_names,
    run_steps,
    trace,
)
from compress.graph.rebuild import copy_model, map_layers, replace_layers

__all__ = [
    "Call",
    "Trace",
    "check_ties",
    "copy_model",
    "inputs_of",
    "leaf_layers",
    "map_layers",
    "output_names",
    "replace_layers",
    "run_steps",
    "trace",
]
