"""Where what comes in gets its range: at an input, or behind what first makes its columns alike.

The columns of a table differ in size, by millions at times, and one grid over all of them keeps the
widest alone. What a model does to them first, a `Normalization`, a `BatchNormalization`, a
`Rescaling`, a logarithm, a layer of the user's own, is then computed in floats, and the range
stands behind it. To fold such a layer into the next kernel would not do: the integers that the
kernel then reads would be those of the raw columns.

Whether it matters is measured, with the examples: a range stays in front where rounding there
moves what stands behind by `STEPS` of its own grid at most. So pictures come in as integers, which
a file's ends then may be. A kernel or a recurrent layer may have learnt from raw columns: it stays
in floats where rounding them leaves less than `SAFE` decibels of what it gives, and they differ by
`OCTAVES`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np

from compress.graph import Call, Trace, run_steps, trace
from compress.graph.kernels import is_own
from zoo.common.noise import r2_of

STEPS = 1.0
SAFE_R2 = 0.99  # that a first kernel keeps of rounded inputs; pictures keep 0.9999
OCTAVES = 3.0  # between the sizes of columns that are alike
BATCH = 32
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
        raw: Ids of those of its tensors whose columns are as they come in, or beside what is made
            of them.
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
    changed = {
        id(tensor): _Moved()
        for call in graph.calls
        if id(call.operation) in entries.operations
        for tensor in call.outputs
        if id(tensor) in entries.borders - entries.raw
    }
    kernels = [
        (call, id(call.inputs[0]), _Moved())
        for call in graph.calls
        if id(call.operation) not in entries.operations and _has_learnt(call)
        if id(call.inputs[0]) in entries.raw
    ]
    if not changed and not kernels:
        return []
    ends = {
        id(tensor): (min(float(array.min()), 0.0), max(float(array.max()), 0.0))
        for tensor, array in zip(graph.inputs, samples, strict=True)
        if id(tensor) in floats
    }
    grids = {
        key: (min(ends[one][0] for one in of), max(ends[one][1] for one in of))
        for key, of in sources.items()
        if of <= ends.keys()
    }
    sizes: dict[int, Any] = {}
    for start in range(0, len(samples[0]), BATCH):
        parts = [array[start : start + BATCH] for array in samples]
        rounded = [
            _rounded(array, grids[id(tensor)], bits) if id(tensor) in floats else array
            for array, tensor in zip(parts, graph.inputs, strict=True)
        ]
        exact, moved = (_values(model, graph, entries, arrays) for arrays in (parts, rounded))
        for key, seen in changed.items():
            seen.add(exact[key], moved[key])
        for call, key, seen in kernels:
            given = exact[key]
            seen.add(*(_call(call, one) for one in (given, _rounded(given, grids[key], bits))))
            wide = np.abs(given).reshape(-1, given.shape[-1]).max(axis=0)
            sizes[key] = np.maximum(sizes.get(key, 0), wide)
    harmed: set[int] = set()
    for key, seen in changed.items():
        if not seen.farthest <= STEPS * _step((seen.low, seen.high), bits):
            harmed |= sources[key]
    for _, key, seen in kernels:
        columns = sizes[key][sizes[key] > 0]
        if columns.size and np.ptp(np.log2(columns)) > OCTAVES and seen.r2() < SAFE_R2:
            harmed |= sources[key]
    linked = [sources[key] for key in (*changed, *(key for _, key, _ in kernels))]
    while grown := [of for of in linked if of & harmed and not of <= harmed]:
        harmed = harmed.union(*grown)  # what is joined with a bare input is bare
    return [place for place, tensor in enumerate(graph.inputs) if id(tensor) in harmed]


@dataclass
class _Moved:
    """What rounding the inputs does to a tensor, over batches."""

    low: float = 0.0
    high: float = 0.0
    farthest: float = 0.0
    noise: float = 0.0
    count: int = 0
    sums: Any = field(default=0.0)  # of an example's shape
    squares: Any = field(default=0.0)

    def add(self, exact: np.ndarray, moved: np.ndarray) -> None:
        error = moved - exact
        self.low = min(self.low, float(exact.min(initial=0.0)))
        self.high = max(self.high, float(exact.max(initial=0.0)))
        self.farthest = float(np.maximum(self.farthest, np.abs(error).max(initial=0.0)))  # or NaN
        self.noise += float(np.square(error).sum())
        self.count += len(exact)
        self.sums = self.sums + exact.sum(axis=0)
        self.squares = self.squares + np.square(exact).sum(axis=0)

    def r2(self) -> float:
        return r2_of(float(np.sum(self.squares - np.square(self.sums) / self.count)), self.noise)


def _has_learnt(call: Call) -> bool:
    """Whether a layer with weights reads one tensor: a kernel, a recurrent layer."""
    layer = call.operation
    return isinstance(layer, keras.layers.Layer) and bool(layer.weights) and len(call.inputs) == 1


def _call(call: Call, values: np.ndarray) -> np.ndarray:
    layer: Any = call.operation
    given = keras.ops.cast(values, call.inputs[0].dtype)
    first = keras.tree.flatten(layer(given, training=False))[0]
    return np.asarray(keras.ops.convert_to_numpy(first), "float64")


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
    # Of each tensor: the inputs whose columns are in it as they come in, and those changed in it.
    parts: dict[int, tuple[set[int], set[int]]] = {start: ({start}, set()) for start in starts}
    for call in graph.calls:
        if id(call.operation) in operations:
            raw, made = (
                set().union(*(parts[id(tensor)][which] for tensor in call.inputs))
                for which in (0, 1)
            )
            if not type(call.operation).__name__.startswith(_SHAPES):
                raw, made = set(), raw | made
            parts |= {id(tensor): (raw, made) for tensor in call.outputs}
    raws = {key for key, (raw, made) in parts.items() if not made or raw & made}
    return Entries(operations, borders, raws)


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
    values = {
        id(tensor): np.asarray(array, "float64") if array.dtype.kind == "f" else array
        for tensor, array in zip(graph.inputs, arrays, strict=True)
    }
    return values | {
        id(tensor): keras.ops.convert_to_numpy(value).astype("float64")
        for call, made in zip(graph.calls, results, strict=True)
        for tensor, value in zip(call.outputs, made, strict=False)
    }


def _rounded(array: np.ndarray, ends: tuple[float, float], bits: int) -> np.ndarray:
    step = _step(ends, bits)
    return (
        (np.round((array - ends[0]) / step) * step + ends[0]).astype(array.dtype) if step else array
    )


def _step(ends: tuple[float, float], bits: int) -> float:
    lo, hi = ends
    if bits > 8:  # symmetric
        return 2 * max(-lo, hi) / (2**bits - 2)
    return (hi - lo) / (2**bits - 1)
