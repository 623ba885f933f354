"""Receptive fields: which pixels a place of a layer's map sees, computed from the graph.

Along one axis, place p of a map sees the pixels from p * stride + start on, `size` of them (Araujo
et al. 2019, doi:10.23915/distill.00021). Where branches meet it sees what either does.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from keras import layers

from compress.graph.graph import is_graph
from compress.graph.kernels import inner
from zoo.explain.classifier import Classifier, Model

SAME_PLACE = {  # of Keras' layers and operations: what a place gives comes from that place
    *("Activation", "BatchNormalization", "LayerNormalization", "UnitNormalization", "Rescaling"),
    *("Normalization", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"),
    *("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Add", "Subtract", "Multiply", "Average"),
    *("Maximum", "Minimum", "Concatenate", "Identity", "Cast", "Dense", "Relu", "Relu6", "Gelu"),
    *("Silu", "Sigmoid", "HardSigmoid", "Tanh", "Divide", "TrueDivide", "Power", "Range", "Floats"),
    *("RangedSilu", "LocalResponseNormalization", "ScaledTanh", "StochasticDepth", "DropConnect"),
    *("Maxout", "ChannelLPPooling"),
}
WINDOWS = {  # layers with strides and padding, and what their window is called
    **dict.fromkeys(("Conv2D", "DepthwiseConv2D", "SeparableConv2D"), "kernel_size"),
    **dict.fromkeys(("WinogradConv2D", "LocallyConnected2D", "TableConv2D"), "kernel_size"),
    **dict.fromkeys(("MaxPooling2D", "AveragePooling2D", "LPPooling2D"), "pool_size"),
    **dict.fromkeys(("Subsampling2D", "CeilMaxPooling2D"), "pool_size"),
}


class Axis(NamedTuple):
    """What a place sees along one axis; a size of infinity is all of it."""

    size: float = 1
    stride: int = 1
    start: float = 0


Axes: TypeAlias = tuple[Axis, Axis]
WHOLE: Axes = (Axis(np.inf, 1, -np.inf), Axis(np.inf, 1, -np.inf))


class Field(NamedTuple):
    """The receptive field of the places of a map.

    Attributes:
        rows: Along the height.
        columns: Along the width.
        picture: Height and width of what the model reads.
    """

    rows: Axis
    columns: Axis
    picture: tuple[int, int]

    def box(self, row: int, column: int) -> np.ndarray:
        """Returns the pixels that a place sees, within the picture: y1 x1 y2 x2, (4,).

        Where a dilated convolution reaches beyond its map, these are a few more than it sees.
        """
        ends = []
        for axis, place, side in zip(self[:2], (row, column), self.picture, strict=True):
            first = 0 if np.isinf(axis.size) else place * axis.stride + axis.start
            ends.append((max(first, 0), min(first + axis.size, side)))
        return np.array([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], int)


def receptive_field(model: Model, layer: str) -> Field:
    """Returns what a place of a layer's map sees.

    Args:
        model: A classifier.
        layer: Path of a layer that gives maps.

    Raises:
        ValueError: There is no such layer; or one before it sees what is not known here, e.g. it
            makes maps larger.
    """
    seen = Classifier.of(model)
    path = seen.find_layer(layer, maps=True)
    known: dict[int, Axes] = {}  # by tensor

    def of(tensor: Any) -> Axes:
        return known.get(id(tensor), (Axis(), Axis()))

    last = max(place for place, call in enumerate(seen.calls) if call.path == path)
    for call in seen.calls[: last + 1]:
        if is_graph(call.operation):
            continue
        maps = [x for x in call.inputs if len(x.shape) == 4]
        found: Axes = (Axis(), Axis())
        if maps:
            found = _through(seen, call, maps[0], of(maps[0]))
            for other in maps[1:]:
                found = _union(found, of(other))
        elif call.inputs:  # e.g. a gate that was made of the whole picture
            found = WHOLE
        for output in call.outputs:
            known[id(output)] = found
    rows, columns = of(seen.calls[last].outputs[0])
    height, width = seen.input_shape[:2]
    if height is None or width is None:
        raise ValueError(f"{seen.model.name}: reads any size; expected a known one.")
    return Field(rows, columns, (int(height), int(width)))


def _through(seen: Classifier, call: Any, tensor: Any, axes: Axes) -> Axes:
    """What a step's places see, given what those of its map do."""
    layer = inner(call.operation)
    kind = type(layer).__name__
    if kind in WINDOWS:
        window = _pair(getattr(layer, WINDOWS[kind]))
        strides = _pair(getattr(layer, "strides", None) or window)
        dilation = _pair(getattr(layer, "dilation_rate", 1))
        sides = zip(axes, window, strides, dilation, tensor.shape[1:3], strict=True)
        same = getattr(layer, "padding", "valid") == "same"
        return tuple(_slid(*side, same=same) for side in sides)  # type: ignore[return-value]
    if kind in ("ZeroPadding2D", "Cropping2D"):
        ends = layer.padding if kind == "ZeroPadding2D" else layer.cropping
        sign = -1 if kind == "ZeroPadding2D" else 1
        moved = [
            axis._replace(start=axis.start + sign * before * axis.stride)
            for axis, (before, _) in zip(axes, ends, strict=True)
        ]
        return moved[0], moved[1]
    if "Global" in kind or (
        kind in ("Mean", "Max", "Sum") and call.outputs[0].shape != tensor.shape
    ):
        return WHOLE
    shape = tuple(call.outputs[0].shape)
    if kind in SAME_PLACE or isinstance(layer, (layers.Activation, layers.Dropout)):
        return axes if len(shape) == 4 else WHOLE
    if len(shape) != 4 or shape[1:3] == (1, 1):
        return WHOLE
    raise ValueError(
        f"layer {call.path or kind!r} ({kind}): which pixels it sees is not known; expected "
        "convolutions, pooling and layers that see one place."
    )


def _slid(
    axis: Axis, window: int, stride: int, dilation: int, side: int | None, *, same: bool
) -> Axis:
    reach = (window - 1) * dilation + 1
    before = 0
    if same and reach > 1:
        if side is None:
            raise ValueError("the side of a map is not known; expected a model of a known size.")
        before = max((-(-side // stride) - 1) * stride + reach - side, 0) // 2
    return Axis(
        axis.size + (reach - 1) * axis.stride,
        axis.stride * stride,
        axis.start - before * axis.stride,
    )


def _union(axes: Axes, others: Axes) -> Axes:
    """What a place sees through either of two branches."""
    joined = []
    for one, other in zip(axes, others, strict=True):
        if np.isinf(other.size) or np.isinf(one.size):
            stride = max(one.stride, other.stride)
            joined.append(Axis(np.inf, stride, -np.inf))
            continue
        start = min(one.start, other.start)
        end = max(one.start + one.size, other.start + other.size)
        joined.append(Axis(end - start, max(one.stride, other.stride), start))
    return joined[0], joined[1]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
