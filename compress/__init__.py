"""Compression at training time: any Functional or Sequential Keras 3 model in, a smaller one out.

    import compress
    small = compress.apply("prune90", model, fit=fit, evaluate=evaluate)  # .model, .report

Importing this package loads neither Keras nor NumPy; a recipe is read, or refused, at once.
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {
    "PASSES": "compress.catalog",
    "Binarize": "compress.passes.few_values.binarize",
    "Budget": "compress.pipeline.budget",
    "Compressed": "compress.pipeline.pipeline",
    "Context": "compress.base",
    "Data": "compress.pipeline.data",
    "Distill": "compress.passes.distill",
    "Entropy": "compress.passes.entropy.settings",
    "FoldBatchNorm": "compress.passes.fold_batch_norm",
    "Headline": "compress.base",
    "Huffman": "compress.passes.huffman",
    "LowRank": "compress.passes.low_rank.settings",
    "Pipeline": "compress.pipeline.pipeline",
    "Prune": "compress.passes.prune.settings",
    "PruneChannels": "compress.passes.prune_channels.settings",
    "Quantize": "compress.passes.quantize.settings",
    "Report": "compress.measure.report",
    "Runtime": "compress.measure.report",
    "ShareWeights": "compress.passes.share_weights.settings",
    "Ternarize": "compress.passes.few_values.ternarize",
    "Winograd": "compress.passes.winograd",
    "apply": "compress.pipeline.pipeline",
    "finish": "compress.pipeline.own_loop",
    "functional": "compress.graph.plain",
    "has_ranges": "compress.passes.quantize.integers",
    "load_recipe": "compress.pipeline.pipeline",
    "pack": "compress.measure.packed",
    "pass_names": "compress.catalog",
    "prepare": "compress.pipeline.own_loop",
    "recipe_names": "compress.catalog",
    "register_kernels": "compress.graph.kernels",
    "unpack": "compress.measure.packed",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
