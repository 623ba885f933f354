"""Subtractive normalisation: each value less the mean around it, over all maps.

Source: Jarrett, Kavukcuoglu, Ranzato & LeCun 2009, What is the best multi-stage architecture for
object recognition?, ICCV 12, section 2; Sermanet et al. 2012, arXiv:1204.3968, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks, windows


@keras.saving.register_keras_serializable(package="zoo")
class SubtractiveNormalization2D(layers.Layer):
    """Subtracts the weighted mean of a window around each place, taken over all channels.

    The weights are those of eblearn with its `gaussian_coeff` of 4: exp(-distance ** 2 / size),
    scaled to a sum of 1 over window and channels. Zeros stand around the map and count as values.
    Shapes: any (batch, height, width, channels) to the same.

    Args:
        size: Height and width of the window, odd numbers; one number for both.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A size is not odd.
    """

    def __init__(self, size: int | Sequence[int] = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = checks.pair(size, "SubtractiveNormalization2D: size")
        if not all(number % 2 for number in self.size):
            raise ValueError(
                f"SubtractiveNormalization2D: size got {size!r}; expected odd numbers: the window "
                "has a middle."
            )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Normalises (batch, height, width, channels)."""
        # The mean over the channels comes first: one map is left to weigh. In float32, since a
        # mean of many half-precision numbers loses bits that the difference would show.
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean = ops.mean(x, axis=-1, keepdims=True)
        for axis, size in enumerate(self.size):
            bell = [math.exp(-((i - size // 2) ** 2) / size) for i in range(size)]
            window = (size, 1) if axis == 0 else (1, size)
            parts = windows.views(mean, window, (1, 1), "same")
            mean = sum(weight / sum(bell) * part for weight, part in zip(bell, parts, strict=True))
        return ops.cast(x - mean, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        if len(input_shape) != 4:
            raise ValueError(
                f"SubtractiveNormalization2D: got the shape {tuple(input_shape)}; expected (batch, "
                "height, width, channels)."
            )
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "size": self.size}
