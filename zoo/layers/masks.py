"""The mask of one class for each box."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from zoo.layers.places import PlacesLayer


@keras.saving.register_keras_serializable(package="zoo")
class MaskOfClass(PlacesLayer):
    """Probabilities of the mask of each box's own class (He et al. 2017, arXiv:1703.06870).

    Shapes: a list of logits (batch * boxes, height, width, classes) and classes (batch, boxes),
    int32, to (batch, boxes, height, width); zeros for the class -1.

    Args:
        background: Whether the first logit is the background's.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, *, background: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.background = background

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        """See the class."""
        logits, classes = inputs
        height, width, count = logits.shape[1:]
        kinds = ops.reshape(classes, (-1,))
        own = ops.one_hot(kinds + int(self.background), count, dtype=logits.dtype)
        chosen = ops.sum(logits * own[:, None, None, :], axis=-1)
        there = ops.cast(kinds >= 0, logits.dtype)
        masks = ops.sigmoid(chosen) * there[:, None, None]
        return ops.reshape(masks, (-1, classes.shape[1], height, width))

    def compute_output_spec(self, inputs: list[KerasTensor]) -> KerasTensor:
        """The shape of the masks."""
        logits, classes = inputs
        return KerasTensor((*classes.shape, *logits.shape[1:3]), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "background": self.background}
