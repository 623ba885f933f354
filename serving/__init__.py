"""Exported directories in, predictions out: TF Serving's API.

`serve` blocks until a signal; `Server` is the same for a `with` block. Both load TFLite, ONNX,
OpenVINO and SavedModel directories. `write` lets a language model write; `deploy` writes what
engines of a fleet read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.common import lazy

if TYPE_CHECKING:
    from serving.answers.writing import write
    from serving.fleet import deploy
    from serving.server import Server, serve

__all__ = ["Server", "deploy", "serve", "write"]

_HOMES = {
    "Server": "serving.server",
    "deploy": "serving.fleet",
    "serve": "serving.server",
    "write": "serving.answers.writing",
}
__getattr__, __dir__, _ = lazy.attach(__name__, _HOMES)
