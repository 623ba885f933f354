"""What a network does first to its inputs, where integers would ruin it: it stays in floats.

The columns of a table differ in size, by millions at times, and the one range of an int8 input
keeps the widest alone. What makes them alike, a difference and a product as a rule, is left in
floats then, and the integers begin behind it. Where rounding the inputs moves what stands behind by
a step of its own range at most, as with pictures, nothing is left.

The converter takes such a product into the kernel behind it where it can, and a network may have
learnt from raw columns. `alike` puts it in front again: columns divided by their largest magnitude,
the kernel multiplied by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from export.examples import one_by_one
from export.formats.tflite.flatbuffer import parse, schema, serialise, to_buffer
from export.formats.tflite.floats import SHAPES, is_float, is_given, name_of
from export.formats.tflite.litert import calls
from zoo.common.noise import r2

EXAMPLES = 64  # that are looked at
STEPS = 255  # of an int8 range
# Which of its inputs a product reads, and which is its kernel.
_PRODUCTS = {
    "FULLY_CONNECTED": (0, 1),
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
}
SAFE_R2 = 0.99  # that a first kernel keeps of rounded inputs; pictures keep 0.9999
OCTAVES = 3.0  # between the sizes of columns that are alike
_VALUES = (
    *("ADD", "SUB", "MUL", "DIV", "LOG", "EXP", "SQRT", "RSQRT", "SQUARE", "POW", "ABS", "NEG"),
    *("MAXIMUM", "MINIMUM", "SIGN", "TANH", "LOGISTIC", "SQUARED_DIFFERENCE", "SIN", "COS"),
)


def alike(content: bytes, examples: Mapping[str, np.ndarray]) -> bytes:
    """Returns a file with products in front of those kernels that unlike columns would ruin.

    Args:
        content: A `.tflite` file of floats, with the ranges of its tensors.
        examples: Inputs (n, ...) by name.
    """
    model = parse(content)
    graph = model.subgraphs[0]
    of, _ = _entries(model)
    products = [
        product
        for product in _products(model)
        if product.read in of
        and is_given(model, product.kernel)
        and is_float(graph, product.kernel)
    ]
    if not products:
        return content
    places = [place for one in products for place in (one.read, one.operator.outputs[0])]
    exact, moved = _exact_and_moved(content, examples, places)
    harmed = [
        one
        for one in products
        if r2(exact[one.operator.outputs[0]], moved[one.operator.outputs[0]]) < SAFE_R2
        and np.ptp(np.log2(_sizes(exact[one.read]))) > OCTAVES
    ]
    for product in harmed:
        _divide(model, product, exact[product.read])
    return serialise(model) if harmed else content


class _Product(NamedTuple):
    """An operator with a kernel; the places of the tensor that it reads and of the kernel."""

    name: str
    operator: Any
    read: int
    kernel: int


def _products(model: Any) -> Iterator[_Product]:
    for operator in model.subgraphs[0].operators:
        if (name := name_of(model, operator)) in _PRODUCTS:
            read, kernel = (operator.inputs[place] for place in _PRODUCTS[name])
            yield _Product(name, operator, read, kernel)


def in_floats(content: bytes, examples: Mapping[str, np.ndarray]) -> set[str]:
    """Returns the names of the tensors that operators at the inputs are to compute in floats.

    Args:
        content: A `.tflite` file of floats.
        examples: Inputs (n, ...) by name.
    """
    model = parse(content)
    graph = model.subgraphs[0]
    of, entries = _entries(model)
    borders = [place for operator in entries for place in operator.outputs]
    read = set(graph.outputs)
    for operator in graph.operators:
        if not any(operator is entry for entry in entries):
            read.update(operator.inputs)
    borders = [place for place in borders if place in read and of[place][1]]
    if not borders:
        return set()
    exact, moved = _exact_and_moved(content, examples, borders)
    harmed: set[int] = set()
    for place in borders:
        if not np.abs(moved[place] - exact[place]).max() <= _step(exact[place]):
            harmed |= of[place][0]
    while grown := [of[p][0] for p in borders if of[p][0] & harmed and not of[p][0] <= harmed]:
        harmed = harmed.union(*grown)
    return {
        graph.tensors[place].name.decode()
        for operator in entries
        for place in operator.outputs
        if of[place][0] & harmed
    }


def _entries(model: Any) -> tuple[dict[int, tuple[set[int], bool]], list[Any]]:
    """The tensors that are made of inputs alone, and the operators that make them.

    Of a tensor it tells the inputs, and whether their values are changed.
    """
    graph = model.subgraphs[0]
    of = {place: ({place}, False) for place in graph.inputs if is_float(graph, place)}
    entries = []
    for operator in graph.operators:
        name = name_of(model, operator)
        places = [place for place in operator.inputs if place >= 0 and not is_given(model, place)]
        if name in (*SHAPES, *_VALUES) and places and all(place in of for place in places):
            starts = set().union(*(of[place][0] for place in places))
            changed = name in _VALUES or any(of[place][1] for place in places)
            of.update(dict.fromkeys(operator.outputs, (starts, changed)))
            entries.append(operator)
    return of, entries


def _divide(model: Any, product: _Product, values: np.ndarray) -> None:
    """Divides what a kernel reads by the size of its columns, and multiplies the kernel."""
    graph, operator = model.subgraphs[0], product.operator
    size = _sizes(values)
    old, kernel = graph.tensors[product.read], graph.tensors[product.kernel]
    held = np.asarray(model.buffers[kernel.buffer].data, np.uint8).view("<f4")
    held = held.reshape(kernel.shape)
    wide = (held * _along_kernel(product.name, size, held.shape)).astype("<f4")
    factors = _tensor(model, kernel.name + b"/columns", [len(size)], (1 / size).astype("<f4"))
    divided = _tensor(model, kernel.name + b"/alike", list(old.shape))
    divided.shapeSignature = old.shapeSignature
    known = schema.QuantizationParametersT()
    known.min, known.max = ([float(end)] for end in ((values / size).min(), (values / size).max()))
    divided.quantization = known
    widened = _tensor(model, kernel.name + b"/wide", list(kernel.shape), wide)
    graph.tensors += [factors, divided, widened]
    first = len(graph.tensors) - 3
    times = schema.OperatorT()
    times.opcodeIndex = _code(model, schema.BuiltinOperator.MUL)
    times.inputs, times.outputs = [product.read, first], [first + 1]
    times.builtinOptionsType = schema.BuiltinOptions.MulOptions
    times.builtinOptions = schema.MulOptionsT()
    place = next(at for at, one in enumerate(graph.operators) if one is operator)
    graph.operators.insert(place, times)
    operator.inputs = list(operator.inputs)
    for at, new in zip(_PRODUCTS[product.name], (first + 1, first + 2), strict=True):
        operator.inputs[at] = new


def _along_kernel(name: str, size: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sizes of columns (columns,) as what a kernel is multiplied by."""
    if name == "DEPTHWISE_CONV_2D":  # (1, height, width, columns * multiplier)
        return np.repeat(size, shape[-1] // len(size))
    # (filters, ..., columns / groups): the filters of a group read its columns alone
    groups = size.reshape(-1, shape[-1])
    if len(groups) == 1:
        return size
    along = np.repeat(groups, shape[0] // len(groups), axis=0)
    return along.reshape(shape[0], *[1] * (len(shape) - 2), shape[-1])


def _sizes(values: np.ndarray) -> np.ndarray:
    """The largest magnitude of each column; 1 where there are only zeros."""
    size: np.ndarray = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
    size[size == 0] = 1
    return size


def _tensor(model: Any, name: bytes, shape: list[int], data: np.ndarray | None = None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, shape, schema.TensorType.FLOAT32
    tensor.buffer = 0 if data is None else to_buffer(model, data.tobytes())
    return tensor


def _code(model: Any, builtin: int) -> int:
    """The place of an operator's code; a new one where there is none."""
    for place, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _exact_and_moved(
    content: bytes, examples: Mapping[str, np.ndarray], places: list[int]
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """The values of tensors, of inputs as they are and of rounded ones."""
    few = {name: array[:EXAMPLES] for name, array in examples.items()}
    rounded = {name: _rounded(array) for name, array in few.items()}
    return _values(content, few, places), _values(content, rounded, places)


def _values(
    content: bytes, examples: Mapping[str, np.ndarray], places: list[int]
) -> dict[int, np.ndarray]:
    def rows() -> Iterator[list[Any]]:
        for read in calls(content, islice(one_by_one(examples), EXAMPLES)):
            yield [np.array(read(place)) for place in places]

    columns = zip(*rows(), strict=True)
    return {place: np.stack(column) for place, column in zip(places, columns, strict=True)}


def _rounded(array: np.ndarray) -> np.ndarray:
    """Floats on the grid of an int8 input."""
    step = _step(array)
    if array.dtype.kind != "f" or not step:
        return array
    low = min(float(array.min()), 0.0)
    return np.asarray(np.round((array - low) / step) * step + low, array.dtype)


def _step(array: np.ndarray) -> float:
    return (max(float(array.max()), 0.0) - min(float(array.min()), 0.0)) / STEPS
