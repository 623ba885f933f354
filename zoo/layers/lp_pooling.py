"""Pooling by a p-norm, over windows or over channels: p = 1 sums, a large p approaches the maximum.

Source: Sermanet, Chintala & LeCun 2012, arXiv:1204.3968, section 3.1, with a Gaussian over the
window; over channels, the complex cells of Hyvarinen & Koster 2007, Network 18(2).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks, windows

TINY = 1e-30  # far above float32's smallest normal number, 1e-38: a divisor in place of 0


@keras.saving.register_keras_serializable(package="zoo")
class LPPooling2D(layers.Layer):
    """The p-norm of each window: `(sum of weight * |x| ** p) ** (1 / p)`.

    Shapes: (batch, height, width, channels) to (batch, rows, columns, channels). Finite in value
    and gradient for all finite inputs, in every precision; the gradient of a window of zeros is 0.

    Args:
        pool_size: Height and width of the window; one number for both.
        p: The power, at least 1.
        strides: Step from one window to the next; `None` is the window.
        padding: `valid`, or `same` with zeros around, which count as values.
        weighting: `sum` weighs every place with 1, as PyTorch does; `mean` with 1 / places;
            `gaussian` with exp(-distance ** 2 / (size / 4) ** 2) from the centre, scaled to a sum
            of 1: the authors' width; theirs is off the centre where the window is even.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1, or a word is unknown.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        p: float = 2.0,
        *,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        weighting: str = "sum",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = checks.pair(pool_size, "LPPooling2D: pool_size")
        self.p = _check_power(p, "LPPooling2D")
        self.strides = checks.pair(
            self.pool_size if strides is None else strides, "LPPooling2D: strides"
        )
        self.padding = checks.padding(padding, "LPPooling2D")
        if weighting not in _WEIGHTS:
            raise ValueError(
                f"LPPooling2D: weighting got {weighting!r}; expected one of {sorted(_WEIGHTS)}."
            )
        self.weighting = weighting

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pools (batch, height, width, channels)."""
        self.compute_output_shape(inputs.shape)  # refuses a map without one window
        parts = windows.views(inputs, self.pool_size, self.strides, self.padding)
        return p_norm(parts, _WEIGHTS[self.weighting](*self.pool_size), self.p)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, rows, columns, channels)."""
        sizes = windows.counts(
            input_shape, self.pool_size, self.strides, self.padding, "LPPooling2D"
        )
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "p": self.p,
            "strides": self.strides,
            "padding": self.padding,
            "weighting": self.weighting,
        }


@keras.saving.register_keras_serializable(package="zoo")
class ChannelLPPooling(layers.Layer):
    """The p-norm of each `pool_size` consecutive channels.

    Shapes: (batch, ..., units * pool_size) to (batch, ..., units). Finite as `LPPooling2D` is.

    Args:
        pool_size: Channels in a group, at least 2.
        p: The power, at least 1.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is too small, or the groups do not divide the channels.
    """

    def __init__(self, pool_size: int = 2, p: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = checks.whole(pool_size, "ChannelLPPooling: pool_size", 2)
        self.p = _check_power(p, "ChannelLPPooling")

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pools the channels of (batch, ..., units * pool_size)."""
        shape = self.compute_output_shape(ops.shape(inputs))
        x = ops.reshape(inputs, (-1, *shape[1:], self.pool_size))
        parts = [x[..., i] for i in range(self.pool_size)]
        return p_norm(parts, [1.0] * self.pool_size, self.p)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, ..., units)."""
        channels = input_shape[-1]
        if channels is None or channels % self.pool_size:
            raise ValueError(
                f"ChannelLPPooling: got {channels} channels; expected a multiple of "
                f"{self.pool_size}, the size of a group."
            )
        return (*input_shape[:-1], channels // self.pool_size)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "pool_size": self.pool_size, "p": self.p}


def p_norm(parts: Sequence[KerasTensor], weights: Sequence[float], p: float) -> KerasTensor:
    """Returns `(sum of weight * |part| ** p) ** (1 / p)`, elementwise over equal tensors.

    Each sum is divided by its largest part before the power and multiplied after the root, so
    nothing leaves the range of the numbers. The result does not depend on that divisor, hence no
    gradient goes through it. Half precision is left for float32 in between.
    """
    dtype = parts[0].dtype
    precise = keras.backend.result_type(dtype, "float32")
    sizes = [ops.abs(ops.cast(part, precise)) for part in parts]
    largest = ops.stop_gradient(functools.reduce(ops.maximum, sizes))
    divisor = ops.maximum(largest, TINY)
    total = sum(
        weight * _power(size / divisor, p) for size, weight in zip(sizes, weights, strict=True)
    )
    # A root has no gradient at 0. Where one part is not 0, the sum is at least its weight.
    total = ops.maximum(total, 0.5 * min(weights))
    return ops.cast(largest * _root(total, p), dtype)


def _power(x: KerasTensor, p: float) -> KerasTensor:
    """`x ** p`; products where p is whole, since TFLite's int8 kernels know no power."""
    if p != int(p):
        return ops.power(x, p)
    result, whole = None, int(p)
    while whole:
        if whole % 2:
            result = x if result is None else result * x
        x, whole = x * x, whole // 2
    return result


def _root(x: KerasTensor, p: float) -> KerasTensor:
    """`x ** (1 / p)`; square roots where p is a power of 2."""
    if p == int(p) and int(p).bit_count() == 1:
        for _ in range(int(p).bit_length() - 1):
            x = ops.sqrt(x)
        return x
    return ops.power(x, 1 / p)


def _check_power(p: float, name: str) -> float:
    if not 1 <= p < math.inf:
        raise ValueError(
            f"{name}: p got {p!r}; expected a number of at least 1. For infinity, use max pooling."
        )
    return float(p)


def _gaussian(height: int, width: int) -> list[float]:
    """Row by row; the width of eblearn's `create_gaussian_kernel`, around the true centre."""
    bells = [
        [math.exp(-(((i - (size - 1) / 2) * 4 / size) ** 2)) for i in range(size)]
        for size in (height, width)
    ]
    weights = [down * across for down in bells[0] for across in bells[1]]
    return [weight / sum(weights) for weight in weights]


_WEIGHTS = {
    "sum": lambda height, width: [1.0] * (height * width),
    "mean": lambda height, width: [1 / (height * width)] * (height * width),
    "gaussian": _gaussian,
}
