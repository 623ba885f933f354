"""Exported directories in, predictions out: TF Serving's REST form, without TensorFlow.

`serve` blocks until a signal; `Server` is the same for a `with` block. Both load one TFLite or ONNX
directory. There is no encryption and no authentication: beyond loopback, put a proxy in front.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.server import Server, serve

__all__ = ["Server", "serve"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("serving.server"), name)
    raise AttributeError(f"module 'serving' has no attribute {name!r}")
