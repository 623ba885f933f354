"""What the converter's calibration leaves undone: ranges without outliers, biases without drift.

The converter's range of a tensor is its least and its greatest value over all examples; one outlier
then takes the steps from all other values. And a kernel rounded to 8 bits moves the mean of each of
its channels, layer by layer in one direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from export.examples import one_by_one
from export.formats.tflite.flatbuffer import parse, schema, serialise, to_buffer
from export.formats.tflite.litert import calls
from export.formats.tflite.unrolled import roles

EXAMPLES = 64  # that are looked at
STEPS = 255  # of an int8 range
_BINS = 2048  # of a tensor's values
_VALUES = 1 << 16  # of a tensor and an example that are counted
_SHARES = np.linspace(1, 0.1, 31)  # of the widest range
_KERNELS = {"CONV_2D": (1, 2, 3), "DEPTHWISE_CONV_2D": (0, 1, 2), "FULLY_CONNECTED": (1,)}
"""The axes of a kernel that one output channel sums over."""


def refined(content: bytes, examples: Mapping[str, np.ndarray], *, ranges: bool = True) -> bytes:
    """Returns a calibrated `.tflite` file of floats, to be quantised, with better numbers in it.

    Each range becomes that in which int8 has the least squared error; those of the outputs stay.
    From each bias is taken by how much its rounded kernel moves the mean of the channel (Nagel et
    al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2,
    with the means of the examples).

    Args:
        content: A file with the ranges of its tensors, as calibration leaves it.
        examples: Inputs (n, ...) by name.
        ranges: Whether the ranges change.
    """
    model = parse(content)
    graph = model.subgraphs[0]
    made = [place for operator in graph.operators for place in operator.outputs]
    kept = {*graph.inputs, *graph.outputs}
    counts = _counts(model, [place for place in made if place not in kept]) if ranges else {}
    products = list(_products(model))
    means = {operator.inputs[0]: _Mean() for _, operator in products}
    for read in calls(content, islice(one_by_one(examples), EXAMPLES)):
        for place, seen in (*counts.items(), *means.items()):
            if (values := read(place)) is not None:
                seen.add(values)
    best = {id(histogram): histogram.best() for histogram in counts.values()}
    for place, histogram in counts.items():
        if found := best[id(histogram)]:
            known = graph.tensors[place].quantization
            known.min, known.max = [found[0]], [found[1]]
    for name, operator in products:
        if (mean := means[operator.inputs[0]].value) is not None:
            _correct(model, operator, _drift(model, name, operator, mean))
    return serialise(model)


def _counts(model: Any, places: Sequence[int]) -> dict[int, _Histogram]:
    """A histogram for each tensor; one for what is the same in each place of an unrolled layer."""
    tensors, same = model.subgraphs[0].tensors, roles(model)
    spans: dict[Any, list[tuple[float, float]]] = {}
    for place in places:
        if span := _range(tensors[place]):
            spans.setdefault(same.get(place, place), []).append(span)
    widest = {
        role: _Histogram(min(low for low, _ in some), max(high for _, high in some))
        for role, some in spans.items()
    }
    found = {place: widest.get(same.get(place, place)) for place in places}
    return {place: one for place, one in found.items() if one}


class _Seen(Protocol):
    def add(self, values: np.ndarray) -> None:
        """Adds the values of a tensor for one example."""


class _Mean(_Seen):
    """The mean of arrays of one shape."""

    def __init__(self) -> None:
        self._sum: Any = 0.0
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        self._sum = self._sum + values.astype(np.float64)
        self._count += 1

    @property
    def value(self) -> np.ndarray | None:
        return np.asarray(self._sum / self._count, np.float32) if self._count else None


class _Histogram(_Seen):
    """How often a tensor has which values."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._counts = np.zeros(_BINS)
        self._drawn: Any = None

    def add(self, values: np.ndarray) -> None:
        values = values.ravel()
        if values.size > _VALUES:
            if self._drawn is None:
                self._drawn = np.random.default_rng(0).integers(0, values.size, _VALUES)
            values = values[self._drawn]
        self._counts += np.histogram(values, bins=_BINS, range=(self._low, self._high))[0]

    def best(self) -> tuple[float, float] | None:
        """Returns the range of the least squared error, or `None` where no value was seen."""
        if not self._counts.any():
            return None
        edges = np.linspace(self._low, self._high, _BINS + 1)
        values = (edges[1:] + edges[:-1]) / 2
        low, high = (np.unique(_SHARES * end) for end in (self._low, self._high))
        below = np.square(np.minimum(values - low[:, None], 0)) @ self._counts
        above = np.square(np.maximum(values - high[:, None], 0)) @ self._counts
        steps = (high - low[:, None]) / STEPS
        errors = below[:, None] + above + np.square(steps) / 12 * self._counts.sum()
        first, second = np.unravel_index(errors.argmin(), errors.shape)
        return float(low[first]), float(high[second])


def _range(tensor: Any) -> tuple[float, float] | None:
    """The least and the greatest value of a float tensor, with zero between; `None` if unknown."""
    known = tensor.quantization
    if tensor.type != schema.TensorType.FLOAT32 or known is None or known.min is None:
        return None
    low, high = min(float(known.min[0]), 0.0), max(float(known.max[0]), 0.0)
    return (low, high) if len(known.min) == 1 and low < high else None


def _products(model: Any) -> Iterator[tuple[str, Any]]:
    """The operators of constant float kernels of a channel each, and their names."""
    graph = model.subgraphs[0]
    codes = {getattr(schema.BuiltinOperator, name): name for name in _KERNELS}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = codes.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
        if name and _constant(model, operator.inputs[1]) is not None:
            yield name, operator


def _constant(model: Any, place: int) -> np.ndarray | None:
    tensor = model.subgraphs[0].tensors[place]
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type != schema.TensorType.FLOAT32:
        return None
    return np.asarray(data, np.uint8).view("<f4").reshape(tensor.shape)


def _drift(model: Any, name: str, operator: Any, mean: np.ndarray) -> np.ndarray:
    """By how much the rounding of its kernel moves each output channel of a product, in the mean.

    Products are linear: the mean input gives the mean output.
    """
    kernel = np.asarray(_constant(model, operator.inputs[1]))
    steps = np.abs(kernel).max(axis=_KERNELS[name], keepdims=True) / (STEPS // 2)
    steps[steps == 0] = 1
    error = np.round(kernel / steps) * steps - kernel
    options = operator.builtinOptions
    if name == "FULLY_CONNECTED":
        return np.asarray(mean.reshape(-1, kernel.shape[1]).mean(axis=0) @ error.T)
    padding = "SAME" if options.padding == schema.Padding.SAME else "VALID"
    stride = [1, options.strideH, options.strideW, 1]
    dilation = [options.dilationHFactor, options.dilationWFactor]
    if name == "DEPTHWISE_CONV_2D":
        error = error.reshape(*kernel.shape[1:3], mean.shape[-1], -1)
        moved = tf.nn.depthwise_conv2d(mean, error, stride, padding, dilations=dilation)
    else:
        groups = mean.shape[-1] // kernel.shape[-1]
        parts = [
            tf.nn.conv2d(part, np.moveaxis(of, 0, -1), stride, padding, dilations=dilation)
            for part, of in zip(np.split(mean, groups, -1), np.split(error, groups), strict=True)
        ]
        moved = tf.concat(parts, axis=-1)
    return np.asarray(tf.reduce_mean(moved, axis=(0, 1, 2)))


def _correct(model: Any, operator: Any, drift: np.ndarray) -> None:
    """Takes the drift from the bias: a new tensor, for the converter shares equal constants."""
    graph = model.subgraphs[0]
    inputs = [*operator.inputs, -1][:3]
    bias = _constant(model, inputs[2]) if inputs[2] >= 0 else np.zeros_like(drift)
    if bias is None:
        return
    tensor = schema.TensorT()
    tensor.shape, tensor.type = list(drift.shape), schema.TensorType.FLOAT32
    tensor.name = graph.tensors[operator.outputs[0]].name + b"/bias"
    tensor.buffer = to_buffer(model, (bias - drift).astype("<f4").tobytes())
    graph.tensors.append(tensor)
    operator.inputs = [*inputs[:2], len(graph.tensors) - 1]
