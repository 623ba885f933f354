"""Max pooling whose last window may hang over the edge, as in cuda-convnet, pylearn2 and Caffe.

Keras' `valid` drops the rows behind the last whole window; its `same` gives ceil(size / stride)
windows, which are more than these wherever windows overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks, windows


@keras.saving.register_keras_serializable(package="zoo")
class CeilMaxPooling2D(layers.Layer):
    """Max pooling with ceil((size - window) / stride) + 1 windows along each axis.

    Shapes: (batch, height, width, channels) to (batch, rows, columns, channels). Every value stands
    in a window, and every window begins inside the map. Height and width must be known.

    Args:
        pool_size: Height and width of the window; one number for both.
        strides: Step from one window to the next, at most the window; `None` is the window.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1, the stride exceeds the window, or the map is smaller.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        *,
        strides: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = checks.pair(pool_size, "CeilMaxPooling2D: pool_size")
        strides = self.pool_size if strides is None else strides
        self.strides = checks.pair(strides, "CeilMaxPooling2D: strides")
        if any(step > size for step, size in zip(self.strides, self.pool_size, strict=True)):
            raise ValueError(
                f"CeilMaxPooling2D: strides got {self.strides}; expected at most the window, "
                f"{self.pool_size}."
            )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pools (batch, height, width, channels)."""
        x, shape = inputs, self.compute_output_shape(inputs.shape)
        for axis in (1, 2):
            stride, window = self.strides[axis - 1], self.pool_size[axis - 1]
            missing = (shape[axis] - 1) * stride + window - x.shape[axis]
            if missing:  # the last row again: the window that hangs over holds it anyway
                last = x[:, -1:] if axis == 1 else x[:, :, -1:]
                x = ops.concatenate([x] + [last] * missing, axis=axis)
        return ops.max_pool(x, self.pool_size, self.strides, data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, rows, columns, channels)."""
        name = type(self).__name__
        windows.counts(input_shape, self.pool_size, (1, 1), "valid", name)  # is there one at all?
        if None in input_shape[1:3]:
            raise ValueError(
                f"{name}: got the shape {tuple(input_shape)}; give the input a fixed size."
            )
        sizes = (
            -(-(input_shape[axis + 1] - self.pool_size[axis]) // self.strides[axis]) + 1
            for axis in (0, 1)
        )
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "pool_size": self.pool_size, "strides": self.strides}
