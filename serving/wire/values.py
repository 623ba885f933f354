"""Values of JSON as arrays. Errors are one line: where, got, expected."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.manifest import TensorSpec
from serving.wire import numbers
from serving.wire.numbers import Numbers

# What JSON's reader may make of a number, by NumPy's kind. Exact types: to Python, true is an int.
_ACCEPTED: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}


class Column(NamedTuple):
    """The values of one input, a nested list or `Numbers`, and how an error line names one."""

    values: Any
    head: str
    tail: str = ""

    def path(self, index: tuple[int, ...]) -> str:
        """E.g. `instances[3].signal[0]`, or `inputs.signal[3][0]`."""
        steps = [f"[{i}]" for i in index]
        return "".join([self.head, *steps[:1], self.tail if steps else "", *steps[1:]])


def parse_numbers(body: bytes) -> dict[str, Any]:
    """Reads a JSON object, the longest list of a model's numbers in it as `Numbers`.

    Raises:
        ValueError: It is none.
    """
    request = numbers.parsed(body)
    return parse(body) if request is None else request


def parse(body: bytes) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ValueError: It is none.
    """
    try:
        request = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        try:
            request = json.loads(body)  # reads NaN, so that it is said where it stands
        except (ValueError, RecursionError) as error:
            raise ValueError(f"request: not JSON: {error}") from None
    if type(request) is not dict:
        raise ValueError(f"request: got {show(request)}; expected an object.")
    if numbers.has_doubles(body, request):
        json.loads(body, object_pairs_hook=_once)
    return request


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, of different keys."""
    found = dict(pairs)
    if len(found) < len(pairs):
        known = [key for key, _ in pairs]
        key = next(key for key in known if known.count(key) > 1)
        raise ValueError(f"request: the key {_short(repr(key))} stands twice; expected it once.")
    return found


def of_rows(instances: Any, names: list[str], head: str = "instances") -> dict[str, Column]:
    """Turns `[{"a": 1, "b": 2}, ...]`, or the plain values of a single input, into columns."""
    if isinstance(instances, Numbers):
        if len(names) == 1:
            return {names[0]: Column(instances, head)}
        instances = instances.plain()
    plain = Column(instances, head)
    _check_batch(plain)
    if type(instances[0]) is not dict and len(names) == 1:
        return {names[0]: plain}
    for i, instance in enumerate(instances):
        _check_names(instance, names, f"{head}[{i}]")
    return {
        name: Column([instance[name] for instance in instances], head, f".{name}") for name in names
    }


def of_columns(inputs: Any, names: list[str]) -> dict[str, Column]:
    """Takes `{"a": [1, ...], "b": [2, ...]}`, or the plain values of a single input."""
    if type(inputs) is not dict and len(names) == 1:
        return {names[0]: Column(inputs, "inputs")}
    _check_names(inputs, names, "inputs")
    return {name: Column(inputs[name], f"inputs.{name}") for name in names}


def _check_names(value: Any, names: list[str], where: str) -> None:
    if type(value) is not dict or set(value) != set(names):
        got = keys(value) if type(value) is dict else show(value)
        raise ValueError(f"{where}: got {got}; expected an object with the keys {_quote(names)}.")


def _check_batch(column: Column) -> None:
    if type(column.values) is not list or not column.values:
        got = show(column.values)
        raise ValueError(f"{column.head}: got {got}; expected a list of one example or more.")


def as_array(column: Column, spec: TensorSpec) -> NDArray[Any]:
    """Flattens nested lists axis by axis, checking each; NumPy alone would guess and convert."""
    if isinstance(column.values, Numbers):
        found = column.values.array((None, *spec.shape[1:]), spec.dtype)
        if found is not None:
            return found
        column = column._replace(values=column.values.plain())
    _check_batch(column)
    # A size that may vary is that of the first example; the others of a request follow it.
    first = shape_of(column.values[0])
    example_sizes = [
        size if size is not None else max(1, first[axis]) if axis < len(first) else 1
        for axis, size in enumerate(spec.shape[1:])
    ]
    shape = (len(column.values), *example_sizes)
    items = column.values
    for axis, size in enumerate(shape[1:], start=1):
        if set(map(type, items)) != {list} or set(map(len, items)) != {size}:
            fits = [type(item) is list and len(item) == size for item in items]
            raise _misfit(column, spec, fits, shape[:axis], example_sizes)
        items = list(chain.from_iterable(items))
    dtype = np.dtype(spec.dtype)
    accepted = _ACCEPTED[dtype.kind]
    if not set(map(type, items)) <= accepted:
        raise _misfit(
            column, spec, [type(item) in accepted for item in items], shape, example_sizes
        )
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused here
            array = np.array(items, dtype)
        finite = bool(np.isfinite(array).all())
    except OverflowError:
        finite = False
    if not finite:
        low, high = _limits(dtype)
        raise _misfit(column, spec, [low <= item <= high for item in items], shape, example_sizes)
    return array.reshape(shape)


def _misfit(
    column: Column,
    spec: TensorSpec,
    fits: list[bool],
    shape: tuple[int, ...],
    example_sizes: list[int],
) -> ValueError:
    """The error for the first value that does not fit; `fits` runs over the axes of `shape`."""
    index = tuple(int(i) for i in np.unravel_index(fits.index(False), shape))
    example = column.values[index[0]]
    if shape_of(example) != tuple(
        example_sizes
    ):  # the whole example says more than its first odd part
        index = index[:1]
    got = column.values
    for i in index:
        got = got[i]
    rest = tuple([None, *example_sizes][len(index) :])
    dtype = np.dtype(spec.dtype)
    if rest:
        expected = f"shape {rest} of {spec.dtype}"
    elif dtype.kind == "b":
        expected = "true or false"
    else:
        low, high = _limits(dtype)
        kind = "a number" if dtype.kind == "f" else "an integer"
        expected = f"{kind} from {low} to {high} ({spec.dtype})"
    return ValueError(f"{column.path(index)}: got {show(got)}; expected {expected}.")


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest and the largest value, as Python numbers: these compare exactly."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def shape_of(value: Any) -> tuple[int, ...]:
    """Returns the shape of nested lists, going by the first item of each."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def show(value: Any) -> str:
    """A JSON value in an error line: a list by its shape, the rest as JSON writes it."""
    if isinstance(value, Numbers):
        value = value.plain()
    if type(value) is list:
        return _short(f"shape {shape_of(value)}")
    return "an object" if type(value) is dict else _short(json.dumps(value))


def keys(value: dict[str, Any]) -> str:
    """The keys of an object in an error line."""
    return f"the keys {_short(_quote(list(value)))}" if value else "an empty object"


def _quote(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
