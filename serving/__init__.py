"""Exported directories in, predictions out: TF Serving's REST form, without TensorFlow.

`serve` blocks until a signal; `Server` is the same for a `with` block. Both load one TFLite or ONNX
directory. There is no encryption and no authentication: beyond loopback, put a proxy in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.common import lazy

if TYPE_CHECKING:
    from serving.server import Server, serve
    from serving.writing import write

__all__ = ["Server", "serve", "write"]

_HOMES = {"Server": "serving.server", "serve": "serving.server", "write": "serving.writing"}
__getattr__, __dir__, _ = lazy.attach(__name__, _HOMES)
