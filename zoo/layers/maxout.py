"""Maxout: a unit is the largest of several linear pieces.

Source: Goodfellow et al. 2013, Maxout networks, arXiv:1302.4389, section 2. A maxout layer of the
paper is a `Dense` or `Conv2D` of `units * pieces` without activation, then `Maxout(pieces)`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks


@keras.saving.register_keras_serializable(package="zoo")
class Maxout(layers.Layer):
    """The largest of each `pieces` consecutive channels.

    Shapes: (batch, ..., units * pieces) to (batch, ..., units); `units[i]` is the largest of the
    channels `i * pieces` to `(i + 1) * pieces - 1`, as in the authors' pylearn2.

    Args:
        pieces: Linear pieces of each unit, at least 2.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: There are fewer than two pieces, or they do not divide the channels.
    """

    def __init__(self, pieces: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pieces = checks.whole(pieces, "Maxout: pieces", 2)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Takes the largest piece of each unit of (batch, ..., units * pieces)."""
        shape = self.compute_output_shape(ops.shape(inputs))
        return ops.max(ops.reshape(inputs, (-1, *shape[1:], self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, ..., units)."""
        channels = input_shape[-1]
        if channels is None or channels % self.pieces:
            raise ValueError(
                f"Maxout: got {channels} channels; expected a multiple of the {self.pieces} pieces."
            )
        return (*input_shape[:-1], channels // self.pieces)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "pieces": self.pieces}
