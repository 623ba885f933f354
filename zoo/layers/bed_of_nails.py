"""Unpooling to a corner: the inverse of sub-sampling that keeps one value of each block.

Source: Dosovitskiy, Springenberg & Brox 2014, arXiv:1411.5928, section 4.2; lectures call it "bed
of nails".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks, windows


@keras.saving.register_keras_serializable(package="zoo")
class BedOfNails2D(layers.Layer):
    """Puts each value into the upper left corner of a block of zeros.

    Shapes: (batch, height, width, channels) to (batch, height * rows, width * columns, channels).

    Args:
        size: Rows and columns of a block; one number for both.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1.
    """

    def __init__(self, size: int | Sequence[int] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = checks.pair(size, "BedOfNails2D: size")

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Unpools (batch, height, width, channels)."""
        x = inputs
        for axis in (2, 1):
            x = windows.interleave([x] + [ops.zeros_like(x)] * (self.size[axis - 1] - 1), axis)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, height * rows, width * columns, channels)."""
        batch, height, width, channels = input_shape
        return (
            batch,
            None if height is None else height * self.size[0],
            None if width is None else width * self.size[1],
            channels,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "size": self.size}
