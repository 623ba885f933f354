"""A convolution in which each output map sees only some input maps.

Source: LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86(11), section II-B, table I. Torch 7 knew
it as `SpatialConvolutionMap`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from zoo.layers import checks, windows


@keras.saving.register_keras_serializable(package="zoo")
class TableConv2D(layers.Layer):
    """A convolution over the connections of a table, and no others.

    Shapes: (batch, height, width, channels) to (batch, rows, columns, len(table)); stride 1, no
    padding. `kernel` is (window height, window width, connections), output map by output map; it
    is laid out into a full kernel with zeros between, so that one plain convolution does the work.

    Args:
        table: For each output map, the numbers of the input maps it sees, each once.
        kernel_size: Height and width of the window; one number for both.
        spread: Fresh weights are uniform in +-sqrt(spread / inputs of the unit); 3 keeps the
            variance of the input.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A row of the table is empty, names a map twice or one that does not exist, or
            the window does not fit.
    """

    kernel_names = ("kernel",)  # what compression works on

    def __init__(
        self,
        table: Sequence[Sequence[int]],
        kernel_size: int | Sequence[int],
        *,
        spread: float = 3.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = tuple(tuple(row) for row in table)
        for row in self.table:
            whole = all(isinstance(number, Integral) and number >= 0 for number in row)
            if not row or not whole or len(set(row)) < len(row):
                raise ValueError(
                    f"TableConv2D: table got the row {row}; expected at least one input map, each "
                    "once, counted from 0."
                )
        if not self.table:
            raise ValueError("TableConv2D: table got no rows; expected one for each output map.")
        if not 0 < spread < math.inf:
            raise ValueError(f"TableConv2D: spread got {spread!r}; expected a number above 0.")
        self.kernel_size = checks.pair(kernel_size, "TableConv2D: kernel_size")
        self.spread = float(spread)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes a window of weights for each connection."""
        channels, highest = input_shape[-1], max(map(max, self.table))
        if channels is None or channels <= highest:
            raise ValueError(
                f"TableConv2D: got {channels} maps; expected at least {highest + 1}, since the "
                f"table names map {highest}."
            )
        connections = sum(map(len, self.table))
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, connections), initializer=self._draw, name="kernel"
        )
        self.bias = self.add_weight(shape=(len(self.table),), initializer="zeros", name="bias")
        # Where each entry of the full kernel (channels * maps) comes from; the last one is zero.
        place = np.full((channels, len(self.table)), connections, "int32")
        pairs = [(number, out) for out, row in enumerate(self.table) for number in row]
        place[tuple(zip(*pairs, strict=True))] = np.arange(connections)
        self._place = place.ravel()

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Convolves (batch, height, width, channels)."""
        connected = ops.pad(self.kernel, ((0, 0), (0, 0), (0, 1)))
        full = ops.take(connected, self._place, axis=2)
        full = ops.reshape(full, (*self.kernel_size, -1, len(self.table)))
        return ops.conv(inputs, full, padding="valid", data_format="channels_last") + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, rows, columns, len(table))."""
        sizes = windows.counts(input_shape, self.kernel_size, (1, 1), "valid", "TableConv2D")
        return (input_shape[0], *sizes, len(self.table))

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "table": self.table,
            "kernel_size": self.kernel_size,
            "spread": self.spread,
        }

    def _draw(self, shape: tuple[int, ...], dtype: Any = None) -> KerasTensor:
        """Uniform weights; units see different numbers of inputs, so their limits differ."""
        inside = math.prod(self.kernel_size)
        limits = [math.sqrt(self.spread / (inside * len(row))) for row in self.table for _ in row]
        return keras.random.uniform(shape, -1.0, 1.0, dtype=dtype) * ops.cast(limits, dtype)
