"""Max pooling that remembers places, and its inverse.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, section 2.1 (switches); Badrinarayanan et al. 2015,
SegNet, arXiv:1511.00561 (max-pooling indices). No gather or scatter: converters treat equal indices
in them differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks, windows

Shape = tuple[Any, ...]


class _Pooling(layers.Layer):
    """The settings that pooling and unpooling share."""

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        *,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        self.pool_size = checks.pair(pool_size, f"{name}: pool_size")
        strides = self.pool_size if strides is None else strides
        self.strides = checks.pair(strides, f"{name}: strides")
        self.padding = checks.padding(padding, name)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }

    def _corners(self, places: tuple[int, int], size: tuple[int, int]) -> KerasTensor:
        """Where in a flattened map each window begins, (1, rows, columns, 1)."""
        grid: Any = 0
        for axis, step in ((0, size[1]), (1, 1)):
            before, _ = windows.margins(
                size[axis], self.pool_size[axis], self.strides[axis], self.padding
            )
            along = (ops.arange(places[axis], dtype="int32") * self.strides[axis] - before) * step
            grid = grid + ops.reshape(along, (1, -1, 1, 1) if axis == 0 else (1, 1, -1, 1))
        return grid

    def _offsets(self, width: int) -> list[int]:
        """How far each place of a window lies behind its corner in a flattened map."""
        height, across = self.pool_size
        return [i * width + j for i in range(height) for j in range(across)]


@keras.saving.register_keras_serializable(package="zoo")
class MaxPoolingWithIndices2D(_Pooling):
    """Max pooling that also returns where each maximum stood.

    Shapes: (batch, height, width, channels) to a list of two (batch, rows, columns, channels): the
    maxima, and their places as int32, row * width + column within the map, as in PyTorch. Of equal
    values the first counts, and it alone gets the gradient. Height and width must be known.

    Args:
        pool_size: Height and width of the window; one number for both.
        strides: Step from one window to the next; `None` is the window.
        padding: `valid`, or `same`.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1, the padding is unknown, or the windows do not fit.
    """

    def call(self, inputs: KerasTensor) -> list[KerasTensor]:
        """Pools (batch, height, width, channels)."""
        self._check(inputs.shape)
        height, width = inputs.shape[1:3]
        # Not minus infinity: ONNX files choose by products, and it times 0 is not a number.
        lowest = -65504.0 if inputs.dtype == "float16" else -3.3e38
        views = windows.views(inputs, self.pool_size, self.strides, self.padding, fill=lowest)
        best, place = views[0], ops.zeros_like(views[0], dtype="int32")
        for view, offset in zip(views[1:], self._offsets(width)[1:], strict=True):
            larger = view > best
            best = ops.where(larger, view, best)
            place = ops.where(larger, ops.cast(offset, "int32"), place)
        return [best, place + self._corners(best.shape[1:3], (height, width))]

    def compute_output_shape(self, input_shape: Shape) -> list[Shape]:
        """Twice (batch, rows, columns, channels)."""
        sizes = windows.counts(
            input_shape, self.pool_size, self.strides, self.padding, type(self).__name__
        )
        shape = (input_shape[0], *sizes, input_shape[3])
        return [shape, shape]

    def compute_output_spec(self, inputs: KerasTensor) -> list[KerasTensor]:
        """The maxima in the precision of the layer, the places as int32."""
        self._check(inputs.shape)
        shape, _ = self.compute_output_shape(inputs.shape)
        return [KerasTensor(shape, self.compute_dtype), KerasTensor(shape, "int32")]

    def _check(self, shape: Shape) -> None:
        if None in shape[1:3]:
            raise ValueError(
                f"MaxPoolingWithIndices2D: got the shape {tuple(shape)}; an index counts along the "
                "rows of a map. Give the input a fixed size."
            )


@keras.saving.register_keras_serializable(package="zoo")
class MaxUnpooling2D(_Pooling):
    """Puts pooled values back where the maxima stood, and zeros elsewhere.

    Shapes: a list of two (batch, rows, columns, channels), values and places as
    `MaxPoolingWithIndices2D` returns them, to (batch, height, width, channels). Values of
    overlapping windows that share a place add up, which makes the layer the transpose (and the
    gradient) of that max pooling; PyTorch keeps an arbitrary one of them. A place outside its own
    window is dropped. Rows and columns must be known.

    Args:
        pool_size: Window of the pooling, (rows, columns).
        strides: Likewise.
        padding: Likewise.
        output_size: Height and width of the map; `None` is the smallest map that gives so many
            windows with `valid` padding, and the largest with `same`.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1, the padding is unknown, or pooling a map of `output_size`
            does not give the shape of the values.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        *,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        output_size: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides=strides, padding=padding, **kwargs)
        self.output_size = (
            None if output_size is None else checks.pair(output_size, "MaxUnpooling2D: output_size")
        )

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        """Unpools [values, places], each (batch, rows, columns, channels)."""
        values, places = inputs
        _, height, width, _ = self.compute_output_shape([values.shape, places.shape])
        place = places - self._corners(values.shape[1:3], (height, width))
        zero = ops.zeros_like(values)
        parts = [ops.where(place == offset, values, zero) for offset in self._offsets(width)]
        across = self.pool_size[1]
        rows = [self._spread(parts[i : i + across], 1, width) for i in range(0, len(parts), across)]
        return self._spread(rows, 0, height)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """(batch, height, width, channels)."""
        shape = tuple(input_shape[0])
        if len(shape) != 4 or None in shape[1:3] or tuple(input_shape[1]) != shape:
            raise ValueError(
                f"MaxUnpooling2D: got the shapes {[tuple(s) for s in input_shape]}; expected values"
                " and places of one shape (batch, rows, columns, channels), rows and columns known."
            )
        size = self.output_size or tuple(
            rows * stride if self.padding == "same" else (rows - 1) * stride + window
            for rows, stride, window in zip(shape[1:3], self.strides, self.pool_size, strict=True)
        )
        pooled = windows.counts(
            (None, *size, None), self.pool_size, self.strides, self.padding, "MaxUnpooling2D"
        )
        if pooled != shape[1:3]:
            raise ValueError(
                f"MaxUnpooling2D: output_size got {size}, which pools to {pooled}; expected one "
                f"that pools to the values' {shape[1:3]}."
            )
        return (shape[0], *size, shape[3])

    def compute_output_spec(self, inputs: list[KerasTensor]) -> KerasTensor:
        """A map in the precision of the layer."""
        shape = self.compute_output_shape([tensor.shape for tensor in inputs])
        return KerasTensor(shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "output_size": self.output_size}

    def _spread(self, parts: Sequence[KerasTensor], axis: int, size: int) -> KerasTensor:
        """Sums maps that belong at 0, 1, ... behind each window's corner, along one axis.

        Part q * stride + r of window n belongs at (n + q) * stride + r: shifted by q windows, then
        woven in as the r-th of `stride` maps.
        """
        stride, window = self.strides[axis], self.pool_size[axis]
        shifts = -(-window // stride)
        woven = []
        for r in range(stride):
            here = [
                ops.pad(parts[q * stride + r], _ends(axis, q, shifts - 1 - q))
                for q in range(shifts)
                if q * stride + r < window
            ]
            woven.append(sum(here[1:], start=here[0]) if here else None)
        empty = ops.zeros_like(woven[0])
        x = windows.interleave([empty if part is None else part for part in woven], axis + 1)
        before, _ = windows.margins(size, window, stride, self.padding)
        missing = max(before + size - x.shape[axis + 1], 0)
        if missing:  # rows behind the last window
            x = ops.pad(x, _ends(axis, 0, missing))
        return x[:, before : before + size] if axis == 0 else x[:, :, before : before + size]


def _ends(axis: int, before: int, after: int) -> list[tuple[int, int]]:
    widths = [(0, 0)] * 4
    widths[axis + 1] = (before, after)
    return widths
