"""Batch normalisation folded into the layer before it: fewer weights, fewer steps, same answers.

Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2. With y = g (W x + b - m) / sqrt(v + e) + c
the kernel becomes W g / sqrt(v + e), the bias (b - m) g / sqrt(v + e) + c. Converters do this by
themselves, so their files gain nothing; Keras, and what reads its files, does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from compress.base import Context, Note, Pass, Rewrite

if TYPE_CHECKING:
    import keras


class FoldBatchNorm(Pass):
    """Folds each batch normalisation that alone reads a linear convolution or dense layer.

    The normalisation becomes an `Identity` of its name. It is for inference: fine-tuned further,
    the model has no statistics of batches any more.
    """

    kind: Literal["fold_batch_norm"] = "fold_batch_norm"
    epochs: int = Field(default=0, ge=0)

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Folds in a copy of `model`; see `Pass.rewrite`."""
        from keras import layers

        from compress.graph import folding, leaf_layers, replace_layers

        found = dict(leaf_layers(model))
        pairs = folding.pairs(model)
        replacements: dict[Any, Any] = {}
        notes = {}
        for path, layer in chosen.items():
            if not isinstance(layer, layers.BatchNormalization):
                continue
            before, reason = pairs[path]
            if before not in chosen:
                notes[path] = Note(False, reason or f"{before} is left out")
                continue
            replacements[before] = folding.folded(found[before], layer)
            replacements[path] = folding.rest(layer)
            notes[path] = Note(True, f"folded into {before}")
            notes[before] = Note(True, f"holds {path}")
        for path, layer in chosen.items():
            notes.setdefault(path, Note(False, _why(layer)))
        new = replace_layers(model, replacements)
        return Rewrite(new, notes, context.fine_tune(new, epochs=self.epochs))


def _why(layer: keras.layers.Layer) -> str:
    return "no normalisation to fold" if layer.weights else "has no weights"
