"""Fractional max pooling: a map shrinks by a factor between 1 and 2, with windows drawn at random.

Source: Graham 2014, Fractional max-pooling, arXiv:1412.6071, section 2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops


@keras.saving.register_keras_serializable(package="zoo")
class FractionalMaxPooling2D(layers.Layer):
    """The largest value of each window; the windows' heights and widths are drawn.

    Shapes: (batch, height, width, channels) to (batch, floor(height / ratio), floor(width / ratio),
    channels). With K = floor(height / rows), every window is K or K + 1 rows high, and together
    they cover the map. Training draws new windows for each batch. Inference always takes the
    pseudo-random ones of the middle offset, so its output is a function of the input; the paper
    averages several draws instead. Under `tf.distribute`'s mirrored strategy all replicas draw the
    same windows. Height and width must be known.

    Args:
        ratio: By what each side shrinks, at least 1; the paper uses numbers between 1 and 2.
        pseudo_random: Whether window i starts at ceil(alpha * (i + u)) - 1 with one random offset
            u for each axis; otherwise the heights K and K + 1 stand in random order.
        overlapping: Whether a window also holds the first row and column of the next.
        seed: Seed of the draws; `None` takes one from the global generator.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: The ratio is below 1, or larger than a side of the map.
    """

    def __init__(
        self,
        ratio: float | Sequence[float] = math.sqrt(2),
        *,
        pseudo_random: bool = True,
        overlapping: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        ratios = tuple(ratio) if isinstance(ratio, Sequence) else (ratio, ratio)
        if len(ratios) != 2 or not all(1 <= number < math.inf for number in ratios):
            raise ValueError(
                f"FractionalMaxPooling2D: ratio got {ratio!r}; expected one or two numbers of at "
                "least 1, e.g. 1.41."
            )
        self.ratio = (float(ratios[0]), float(ratios[1]))
        self.pseudo_random = bool(pseudo_random)
        self.overlapping = bool(overlapping)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        """Pools (batch, height, width, channels)."""
        shape = self.compute_output_shape(inputs.shape)
        x = inputs
        for axis in (1, 2):
            size, windows = inputs.shape[axis], shape[axis]
            if not training:
                bounds = pseudo_random_bounds(size, windows, largest_offset(size, windows) / 2)
            elif self.pseudo_random:
                bounds = self._drawn_offset(size, windows)
            else:
                bounds = self._drawn_order(size, windows)
            x = self._pool(x, bounds, size // windows + 1, axis)
        return x

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, rows, columns, channels)."""
        if len(input_shape) != 4 or None in input_shape[1:3]:
            raise ValueError(
                f"FractionalMaxPooling2D: got the shape {tuple(input_shape)}; expected (batch, "
                "height, width, channels) of a known height and width."
            )
        sizes = [math.floor(input_shape[i + 1] / self.ratio[i]) for i in (0, 1)]
        if min(sizes) < 1:
            raise ValueError(
                f"FractionalMaxPooling2D: got maps of {input_shape[1]}x{input_shape[2]} for a ratio"
                f" of {self.ratio}; the output would be empty. Enlarge the pictures."
            )
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "pseudo_random": self.pseudo_random,
            "overlapping": self.overlapping,
            "seed": self.seed,
        }

    def _pool(self, x: KerasTensor, bounds: Any, longest: int, axis: int) -> KerasTensor:
        """The largest of each window along one axis: rectangles are two such steps."""
        starts, ends = bounds[:-1], bounds[1:] - 1  # (windows,) each, both ends included
        if self.overlapping:
            last = x.shape[axis] - 1
            ends, longest = ops.minimum(ends + 1, last), longest + 1
        # A window that is shorter than the longest meets its last row twice.
        parts = [ops.take(x, ops.minimum(starts + i, ends), axis=axis) for i in range(longest)]
        return functools.reduce(ops.maximum, parts)

    def _drawn_offset(self, size: int, windows: int) -> KerasTensor:
        """Pseudo-random bounds (windows + 1,) of a random offset."""
        # Away from both limits, where rounding could make a window one row too short or too long.
        share = keras.random.uniform((), 0.01, 0.99, dtype="float32", seed=self.seed_generator)
        offset = share * largest_offset(size, windows)
        alpha = size / windows
        inner = ops.ceil(alpha * (ops.arange(1, windows, dtype="float32") + offset)) - 1
        return self._between(ops.cast(inner, "int32"), size)

    def _drawn_order(self, size: int, windows: int) -> KerasTensor:
        """Bounds (windows + 1,) of long and short windows in random order."""
        short, long_windows = divmod(size, windows)
        noise = keras.random.uniform((windows,), dtype="float32", seed=self.seed_generator)
        is_long = ops.cast(ops.argsort(noise) < long_windows, "int32")
        return self._between(ops.cumsum(short + is_long)[:-1], size)

    def _between(self, inner: KerasTensor, size: int) -> KerasTensor:
        """The bounds, with the first and the last: (windows + 1,)."""
        ends = [ops.convert_to_tensor([end], dtype="int32") for end in (0, size)]
        return ops.concatenate([ends[0], inner, ends[1]], axis=0)


def largest_offset(size: int, windows: int) -> float:
    """Returns the offset up to which every pseudo-random window is K or K + 1 rows high."""
    alpha, short = size / windows, size // windows
    first = (short + 2) / alpha - 1  # beyond it, the first window is too high
    last = (size + 1 - short) / alpha - (windows - 1)  # beyond it, the last one is too low
    return min(first, last)


def pseudo_random_bounds(size: int, windows: int, offset: float) -> np.ndarray:
    """Returns where `windows` windows over `size` rows start, and their end: (windows + 1,)."""
    inner = np.ceil(size / windows * (np.arange(1, windows) + offset)).astype("int32") - 1
    return np.concatenate([[0], inner, [size]]).astype("int32")
