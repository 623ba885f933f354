"""Layers that compression needs, while it trains or for good; registered as `compress>NAME`."""

from __future__ import annotations

import sys
from importlib import import_module

from zoo.common import lazy

# Keras walks a graph by recursion, one frame a layer, wherever it builds, clones or loads a model.
# With its ranges EfficientNetV2L is deeper than the 1,000 frames that Python allows.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))

_EXPORTS = {
    "Binary": "compress.layers.binary",
    "BinaryActivation": "compress.layers.binary",
    "Distillation": "compress.layers.distillation",
    "Factored": "compress.layers.low_rank",
    "Factors": "compress.layers.low_rank",
    "Floats": "compress.layers.quantized",
    "KernelRange": "compress.layers.quantized",
    "Latent": "compress.layers.latent",
    "LowRankGRUCell": "compress.layers.low_rank",
    "LowRankLSTMCell": "compress.layers.low_rank",
    "LowRankSimpleRNNCell": "compress.layers.low_rank",
    "Masked": "compress.layers.masked",
    "Parametrization": "compress.layers.parametrized",
    "Parametrized": "compress.layers.parametrized",
    "Range": "compress.layers.quantized",
    "RangedSilu": "compress.layers.quantized",
    "Shared": "compress.layers.shared",
    "Ternary": "compress.layers.ternary",
    "TiedZeros": "compress.layers.masked",
    "WinogradConv2D": "compress.layers.winograd",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS, "register")


def register() -> None:
    """Imports every layer; Keras then loads a saved model that holds one."""
    for module in _EXPORTS.values():
        import_module(module)
