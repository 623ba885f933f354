"""Where what comes in gets its range: at an input, or behind what first makes its columns alike.

The columns of a table differ in size, by millions at times, and one grid over all of them keeps the
widest alone. What a model does to them first, a `Normalization`, a `BatchNormalization`, a
`Rescaling`, a logarithm, a layer of the user's own, is then computed in floats, and the range
stands behind it. To fold such a layer into the next kernel would not do: the integers that the
kernel then reads would be those of the raw columns.

Whether it matters is measured, with the examples: a range stays in front where rounding there
moves what stands behind by `STEPS` of its own grid at most. So pictures come in as integers, which
a file's ends then may be.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import keras
import numpy as np

from compress.graph import Call, Trace, run_steps, trace
from compress.graph.kernels import is_own

STEPS = 1.0
# By name: `keras.ops` has operations of the same name as layers, and they count as these.
_SHAPES = (  # what comes out is as wide as what goes in
    *("Flatten", "Reshape", "Permute", "RepeatVector", "Dropout", "SpatialDropout", "Gaussian"),
    *(
        "AlphaDropout",
        "Identity",
        "ActivityRegularization",
        "ReplicaDropout",
        "Cropping",
        "Masking",
    ),
    *("Concatenate", "ExpandDims", "Squeeze", "Transpose", "GetItem", "Slice", "Split", "Stack"),
    *("Swapaxes", "Moveaxis", "Take", "Unstack", "Cast", "MaxPool", "AveragePool", "Pad"),
    *("GlobalMaxPooling", "GlobalAveragePooling", "ZeroPadding", "UpSampling"),
)
_VALUES = (
    *("Normalization", "BatchNormalization", "FusedBatchNormalization", "Rescaling"),
    *("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"),
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Power", "Square", "Sqrt", "Rsqrt"),
    *("Log", "Log1p", "Log2", "Log10", "Exp", "Expm1", "Abs", "Absolute", "Negative", "Clip"),
    *(
        "Maximum",
        "Minimum",
        "Sign",
        "Arctan",
        "Arcsinh",
        "Tanh",
        "Sigmoid",
        "Activation",
        "Average",
    ),
    *("Where", "Mod", "Floor", "Sin", "Cos", "Reciprocal", "Normalize", "NanToNum"),
)


class Entries(NamedTuple):
    """The part of a graph that is computed in floats before any range.

    Attributes:
        operations: Ids of its steps.
        borders: Ids of its tensors, inputs among them, that other steps read, or that are outputs.
        raw: Ids of those of its tensors whose columns are as they come in.
    """

    operations: set[int]
    borders: set[int]
    raw: set[int]


def found(graph: Trace, bare: Collection[int]) -> Entries:
    """Returns what stands between the inputs that get no range and the first ranges.

    Args:
        graph: Trace of a model.
        bare: Places of those inputs; the names of some change with each copy.
    """
    return _entries(graph, {id(graph.inputs[place]) for place in bare})


def paths(model: keras.Model, bare: Collection[int]) -> list[str]:
    """Returns the paths of the layers between such inputs and the first ranges."""
    graph = trace(model)
    inside = found(graph, bare).operations
    return [call.path for call in graph.calls if call.path and id(call.operation) in inside]


def readers_of_raw(model: keras.Model, bare: Collection[int]) -> list[str]:
    """Returns the paths of the layers that read columns as they come in, with no range between."""
    graph = trace(model)
    entries = found(graph, bare)
    return [
        call.path
        for call in graph.calls
        if call.path and id(call.operation) not in entries.operations
        if any(id(tensor) in entries.raw for tensor in call.inputs)
    ]


def bare(model: keras.Model, samples: list[np.ndarray], *, bits: int) -> list[int]:
    """Returns the places of the inputs whose range must stand further behind.

    Args:
        model: Functional or Sequential.
        samples: (n, ...) for each input.
        bits: Width of what flows.
    """
    graph = trace(model)
    floats = {id(tensor) for tensor in graph.inputs if "float" in tensor.dtype}
    entries = _entries(graph, floats)
    sources = _sources(graph, entries.operations)
    borders = [
        tensor
        for call in graph.calls
        if id(call.operation) in entries.operations
        for tensor in call.outputs
        if id(tensor) in entries.borders - entries.raw
    ]
    if not borders:
        return []
    rounded = [
        _rounded(array, bits) if "float" in tensor.dtype else array
        for array, tensor in zip(samples, graph.inputs, strict=True)
    ]
    harmed: set[int] = set()
    exact, moved = (_values(model, graph, entries, arrays) for arrays in (samples, rounded))
    linked = [sources[id(tensor)] for tensor in borders]
    for tensor, of in zip(borders, linked, strict=True):
        one, other = exact[id(tensor)], moved[id(tensor)]
        step = _step(one, bits)
        if not np.abs(other - one).max(initial=0.0) <= STEPS * step:
            harmed |= of
    while grown := [of for of in linked if of & harmed and not of <= harmed]:
        harmed = harmed.union(*grown)  # what is joined with a bare input is bare
    return [place for place, tensor in enumerate(graph.inputs) if id(tensor) in harmed]


def _entries(graph: Trace, starts: set[int]) -> Entries:
    floats: set[int] = set()
    operations: set[int] = set()
    barred: set[int] = set()  # steps that one of their calls rules out
    settled = False
    while not settled:
        settled, floats, operations = True, set(starts), set()
        for call in graph.calls:
            key = id(call.operation)
            if not call.outputs or not call.inputs:
                continue
            fits = _is_entry(call) and all(id(tensor) in floats for tensor in call.inputs)
            if fits and key not in barred:
                operations.add(key)
                floats |= {id(tensor) for tensor in call.outputs}
            elif key in operations:
                barred.add(key)
                settled = False
    borders = {id(tensor) for tensor in graph.outputs if id(tensor) in floats}
    for call in graph.calls:
        if call.outputs and id(call.operation) not in operations:
            borders |= {id(tensor) for tensor in call.inputs if id(tensor) in floats}
    changed: dict[int, bool] = dict.fromkeys(starts, False)
    for call in graph.calls:
        if id(call.operation) in operations:
            new = not type(call.operation).__name__.startswith(_SHAPES)
            new = new or any(changed[id(tensor)] for tensor in call.inputs)
            changed |= {id(tensor): new for tensor in call.outputs}
    return Entries(operations, borders, {key for key, new in changed.items() if not new})


def _is_entry(call: Call) -> bool:
    name = type(call.operation).__name__
    return is_own(call.operation) or name.startswith(_SHAPES) or name in _VALUES


def _sources(graph: Trace, operations: set[int]) -> dict[int, set[int]]:
    """For each tensor of the part, the inputs that it is made of."""
    of = {id(tensor): {id(tensor)} for tensor in graph.inputs}
    for call in graph.calls:
        if id(call.operation) in operations:
            starts = set().union(*(of[id(tensor)] for tensor in call.inputs))
            of.update({id(tensor): starts for tensor in call.outputs})
    return of


def _values(
    model: keras.Model, graph: Trace, entries: Entries, arrays: list[np.ndarray]
) -> dict[int, np.ndarray]:
    """What the part in floats makes of examples: by id of a tensor of `graph`."""
    places = [id(call.operation) in entries.operations for call in graph.calls]
    results = run_steps(model, arrays, places)
    return {
        id(tensor): keras.ops.convert_to_numpy(value).astype("float64")
        for call, values in zip(graph.calls, results, strict=True)
        for tensor, value in zip(call.outputs, values, strict=False)
    }


def _rounded(array: np.ndarray, bits: int) -> np.ndarray:
    lo, step = min(float(array.min(initial=0.0)), 0.0), _step(array, bits)
    return (np.round((array - lo) / step) * step + lo).astype(array.dtype) if step else array


def _step(array: np.ndarray, bits: int) -> float:
    lo, hi = min(float(array.min(initial=0.0)), 0.0), max(float(array.max(initial=0.0)), 0.0)
    if bits > 8:  # symmetric
        return 2 * max(-lo, hi) / (2**bits - 2)
    return (hi - lo) / (2**bits - 1)
