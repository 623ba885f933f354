"""Layers that the papers use and Keras lacks; each is registered for saving as `zoo>NAME`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {"LocalResponseNormalization": "zoo.layers.lrn"}

__all__ = sorted([*_EXPORTS, "register"])


def register() -> None:
    """Imports every layer; Keras then loads a saved model that holds one."""
    for module in _EXPORTS.values():
        import_module(module)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'zoo.layers' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
