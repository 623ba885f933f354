"""Compression at training time: any Functional or Sequential Keras 3 model in, a smaller one out.

    import compress
    small = compress.apply("prune90", model, fit=fit, evaluate=evaluate)  # .model, .report

Importing this package loads neither Keras nor NumPy; a recipe is read, or refused, at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "PASSES": "compress.catalog",
    "Binarize": "compress.passes.binarize",
    "Budget": "compress.budget",
    "Compressed": "compress.pipeline",
    "Context": "compress.base",
    "FoldBatchNorm": "compress.passes.fold_batch_norm",
    "Huffman": "compress.passes.huffman",
    "LowRank": "compress.passes.low_rank",
    "Pipeline": "compress.pipeline",
    "Prune": "compress.passes.prune",
    "PruneChannels": "compress.passes.prune_channels",
    "Report": "compress.report",
    "Runtime": "compress.report",
    "ShareWeights": "compress.passes.share_weights",
    "Ternarize": "compress.passes.ternarize",
    "apply": "compress.pipeline",
    "load_recipe": "compress.pipeline",
    "pack": "compress.packed",
    "pass_names": "compress.catalog",
    "recipe_names": "compress.catalog",
    "unpack": "compress.packed",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
