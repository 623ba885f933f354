"""What a detector cuts out of its maps: regions of interest, brought to one size.

Sources: Girshick 2015, Fast R-CNN, arXiv:1504.08083, section 2.1 (pooling); He et al. 2017, Mask
R-CNN, arXiv:1703.06870, section 3 (alignment); Lin et al. 2017, feature pyramids,
arXiv:1612.03144, equation 1 (which level a region reads).

A region is y1, x1, y2, x2 in pixels of the picture. The numbers of regions, and the sides of the
maps, are known; one graph serves TFLite and ONNX, without loops or scatters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from zoo.layers.places import PlacesLayer

LARGE = 2500  # places of a map from which on gathering its corners is cheaper than products
USUAL_SIDE, USUAL_LEVEL = 224.0, 4  # a region of this side reads the level of stride 2**4


class _Regions(PlacesLayer):
    """What both forms share: one map or several, of which each region reads one.

    Shapes: a list of maps (batch, height, width, channels), finest first, and of regions (batch,
    regions, 4) as the last, to (batch, regions, bins, bins, channels); merged, to (batch * regions,
    bins, bins, channels), so that convolutions can follow.

    Args:
        bins: Height and width of the result.
        strides: Pixels of the picture between two places of each map.
        merged: Whether each region becomes an example of its own.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self, bins: int = 7, *, strides: Sequence[int], merged: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        strides = tuple(strides)
        if bins < 1 or not strides or min(strides) < 1:
            raise ValueError(
                f"{type(self).__name__}: got bins {bins} and strides {strides}; expected 1 or more "
                "each, a stride for each map."
            )
        self.bins, self.strides, self.merged = bins, strides, merged

    def read(self, maps: KerasTensor, regions: KerasTensor, stride: int) -> KerasTensor:
        """Returns what all regions read of one map, (batch, regions, bins, bins, channels)."""
        raise NotImplementedError

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        """See the class."""
        *maps, regions = inputs
        if len(maps) != len(self.strides):
            raise ValueError(
                f"{self.name}: got {len(maps)} maps for the strides {self.strides}; expected as "
                "many."
            )
        read = [
            self.read(one, regions, stride) for one, stride in zip(maps, self.strides, strict=True)
        ]
        total = read[0]
        if len(read) > 1:
            level = levels(regions, self.strides)  # (batch, regions)
            owns = [ops.cast(ops.equal(level, index), total.dtype) for index in range(len(read))]
            total = sum(
                values * own[..., None, None, None] for values, own in zip(read, owns, strict=True)
            )
        return ops.reshape(total, (-1, *total.shape[2:])) if self.merged else total

    def compute_output_spec(self, inputs: list[KerasTensor]) -> KerasTensor:
        """The shape and type of the result."""
        *maps, regions = inputs
        shape = (self.bins, self.bins, maps[0].shape[-1])
        first = (None,) if self.merged else regions.shape[:2]
        return KerasTensor((*first, *shape), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "bins": self.bins,
            "strides": self.strides,
            "merged": self.merged,
        }


@keras.saving.register_keras_serializable(package="zoo")
class ROIAlign(_Regions):
    """Means of bilinear samples of each bin, without any rounding (He et al. 2017).

    A bilinear sample is a product of two hat functions, so the mean over a grid of samples is one
    product of matrices along the height and one along the width. Large maps are gathered at the
    corners of each sample, which gives the same. Samples further out than one place are zero, as
    torchvision's `roi_align` has it.

    Args:
        bins: See `_Regions`, likewise `strides`.
        samples: Samples of a bin along each side.
        aligned: Whether a place of the map lies in the middle of its pixels; the first
            implementations were half a pixel off.
        **kwargs: `merged`, see `_Regions`, and keyword arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        bins: int = 7,
        *,
        strides: Sequence[int],
        samples: int = 2,
        aligned: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(bins, strides=strides, **kwargs)
        if samples < 1:
            raise ValueError(f"ROIAlign: samples got {samples}; expected at least 1.")
        self.samples, self.aligned = samples, aligned

    def read(self, maps: KerasTensor, regions: KerasTensor, stride: int) -> KerasTensor:
        """See `_Regions.read`."""
        y1, x1, y2, x2 = (
            regions[..., side] / stride - (0.5 if self.aligned else 0.0) for side in range(4)
        )
        tall, wide = y2 - y1, x2 - x1
        if not self.aligned:
            tall, wide = ops.maximum(tall, 1.0), ops.maximum(wide, 1.0)
        at = (ops.arange(self.bins * self.samples, dtype="float32") + 0.5) / (
            self.bins * self.samples
        )
        rows = y1[..., None] + at * tall[..., None]  # (batch, regions, bins * samples)
        columns = x1[..., None] + at * wide[..., None]
        height, width = maps.shape[1:3]
        form = _gathered if height * width > LARGE else _multiplied
        return form(maps, rows, columns, self.bins)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "samples": self.samples, "aligned": self.aligned}


@keras.saving.register_keras_serializable(package="zoo")
class ROIPooling(_Regions):
    """Largest values of bins of whole places (Girshick 2015).

    Ends are rounded to places and are part of the region; a bin runs from the floor of its start to
    the ceiling of its end; one without a place is zero: the rule of torchvision's `roi_pool`. The
    largest value of every window of 1, 2, 4 ... places is found once; any bin is the largest of the
    four such windows that cover it (Bender & Farach-Colton 2000, the sparse table, in two
    dimensions).
    """

    def read(self, maps: KerasTensor, regions: KerasTensor, stride: int) -> KerasTensor:
        """See `_Regions.read`."""
        _, height, width, channels = maps.shape
        num, bins = regions.shape[1], self.bins
        y1, x1, y2, x2 = (ops.floor(regions[..., side] / stride + 0.5) for side in range(4))
        tall, wide = self._edges(y1, y2, height), self._edges(x1, x2, width)
        tables = [_windows(rows, axis=2) for rows in _windows(maps, axis=1)]
        across = len(tables[0])
        table = ops.stack([one for line in tables for one in line], axis=1)
        first = ops.arange(ops.shape(maps)[0], dtype="int32") * (len(tables) * across)
        first = ops.reshape(first, (-1, 1, 1, 1))
        (rows, tops), (columns, lefts) = _covering(*tall, height), _covering(*wide, width)
        which = first + rows[..., :, None] * across + columns[..., None, :]
        flat = ops.reshape(table, (-1, channels))
        best = None
        for top in tops:
            for left in lefts:
                places = (which * height + top[..., :, None]) * width + left[..., None, :]
                values = ops.take(flat, ops.reshape(places, (-1,)), axis=0)
                best = values if best is None else ops.maximum(best, values)
        full = [ops.cast(low < high, "float32") for low, high in (tall, wide)]
        best = ops.reshape(best, (-1, num, bins, bins, channels))
        return best * (full[0][..., :, None] * full[1][..., None, :])[..., None]

    def _edges(
        self, start: KerasTensor, end: KerasTensor, size: int
    ) -> tuple[KerasTensor, KerasTensor]:
        """First place of each bin and the one behind its last, int32: (batch, regions, bins)."""
        length = ops.maximum(end - start + 1.0, 1.0)[..., None]
        index = ops.arange(self.bins, dtype="float32")
        # Of whole numbers; half a unit off the edge, so that no runtime's rounding moves a bin.
        low = ops.floor((index * length + 0.5) / self.bins) + start[..., None]
        high = ops.floor(((index + 1) * length + (self.bins - 0.5)) / self.bins) + start[..., None]
        low, high = (ops.cast(ops.clip(edge, 0.0, float(size)), "int32") for edge in (low, high))
        return low, high


def _windows(maps: KerasTensor, axis: int) -> list[KerasTensor]:
    """Largest values of windows of 1, 2, 4 ... places of an axis, each from its first place."""
    found, size, step = [maps], maps.shape[axis], 1
    while 2 * step <= size:
        last = found[-1]
        index = ops.minimum(ops.arange(size, dtype="int32") + step, size - 1)
        found.append(ops.maximum(last, ops.take(last, index, axis=axis)))
        step *= 2
    return found


def _covering(
    low: KerasTensor, high: KerasTensor, size: int
) -> tuple[KerasTensor, tuple[KerasTensor, KerasTensor]]:
    """Index of the longest window that a bin holds, and where the two begin that cover the bin."""
    length = high - low
    index, side, step = ops.zeros_like(length), ops.ones_like(length), 1
    while 2 * step <= size:
        longer = ops.cast(length >= 2 * step, "int32")
        index, side, step = index + longer, side + longer * step, 2 * step
    return index, (ops.minimum(low, size - 1), ops.maximum(high - side, 0))


def levels(regions: KerasTensor, strides: Sequence[int]) -> KerasTensor:
    """Returns the index of the map that each region reads, (batch, regions), int32.

    By the thresholds of equation 1 of Lin et al.: compared as areas, so that no logarithm's
    rounding decides.

    Args:
        regions: (batch, regions, 4) in pixels.
        strides: Of the maps, powers of two, one twice the other.
    """
    area = (regions[..., 2] - regions[..., 0]) * (regions[..., 3] - regions[..., 1])
    level = ops.zeros_like(area, dtype="int32")
    for stride in strides[1:]:
        side = USUAL_SIDE * stride / 2**USUAL_LEVEL
        level = level + ops.cast(area >= side**2, "int32")
    return level


def _multiplied(
    maps: KerasTensor, rows: KerasTensor, columns: KerasTensor, bins: int
) -> KerasTensor:
    """Means of samples as products of matrices; samples (batch, regions, bins * samples)."""
    _, height, width, channels = maps.shape
    num = rows.shape[1]
    tall, wide = hats(rows, height, bins), hats(columns, width, bins)
    flat = ops.reshape(maps, (-1, height, width * channels))
    x = ops.matmul(ops.reshape(tall, (-1, num * bins, height)), flat)  # (batch, num * bins, w * c)
    x = ops.transpose(ops.reshape(x, (-1, num, bins, width, channels)), (0, 1, 3, 2, 4))
    x = ops.matmul(wide, ops.reshape(x, (-1, num, width, bins * channels)))
    return ops.transpose(ops.reshape(x, (-1, num, bins, bins, channels)), (0, 1, 3, 2, 4))


def hats(places: KerasTensor, size: int, bins: int) -> KerasTensor:
    """Returns the weight of each place of an axis in the mean of a bin.

    Args:
        places: Samples along the axis, (batch, regions, bins * samples).
        size: Length of the axis.
        bins: Number of bins.

    Returns:
        (batch, regions, bins, size).
    """
    inside = ops.cast(ops.logical_and(places >= -1.0, places <= float(size)), "float32")
    places = ops.clip(places, 0.0, float(size - 1))
    far = ops.abs(places[..., None] - ops.arange(size, dtype="float32"))
    weights = ops.maximum(1.0 - far, 0.0) * inside[..., None]
    num, samples = places.shape[1], places.shape[2] // bins
    return ops.mean(ops.reshape(weights, (-1, num, bins, samples, size)), axis=3)


def _gathered(maps: KerasTensor, rows: KerasTensor, columns: KerasTensor, bins: int) -> KerasTensor:
    """The same as `_multiplied`, from the four corners of each sample."""
    _, height, width, channels = maps.shape
    num, along = rows.shape[1:]
    samples = along // bins
    flat = ops.reshape(maps, (-1, channels))
    first = ops.arange(ops.shape(maps)[0], dtype="int32") * (height * width)
    first = ops.reshape(first, (-1, 1, 1, 1))
    top, left = _corners(rows, height), _corners(columns, width)
    total: Any = 0.0
    for row, row_weight in top:
        for column, column_weight in left:
            places = row[..., :, None] * width + column[..., None, :] + first
            values = ops.take(flat, ops.reshape(places, (-1,)), axis=0)
            weight = row_weight[..., :, None] * column_weight[..., None, :]
            values = ops.reshape(values, (-1, num * along * along, channels))
            total = total + values * ops.reshape(weight, (-1, num * along * along, 1))
    total = ops.mean(ops.reshape(total, (-1, samples, along * channels)), axis=1)
    total = ops.mean(ops.reshape(total, (-1, samples, channels)), axis=1)
    return ops.reshape(total, (-1, num, bins, bins, channels))


def _corners(places: KerasTensor, size: int) -> list[tuple[KerasTensor, KerasTensor]]:
    """The two places around each sample along an axis, int32, and their weights."""
    inside = ops.cast(ops.logical_and(places >= -1.0, places <= float(size)), "float32")
    places = ops.clip(places, 0.0, float(size - 1))
    low = ops.floor(places)
    share = places - low
    low = ops.cast(low, "int32")
    high = ops.minimum(low + 1, size - 1)
    return [(low, (1 - share) * inside), (high, share * inside)]
