"""TF Serving's REST form of requests: JSON to arrays, and arrays to JSON.

Source: https://www.tensorflow.org/tfx/serving/api_rest, "Predict API", "Classify and Regress API".
Differs: all inputs hold the same number of examples; NaN and Infinity, which JSON does not have,
are refused; so are strings and names that the signature does not know. base64 is that of a picture
file, and is answered as `pictures` says. Scores of classes are probabilities. Errors are one line:
where, got, expected.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.manifest import Signature, TensorSpec
from serving import pictures, sessions
from serving.engines import Arrays

if TYPE_CHECKING:
    from serving.repository import Version

SIGNATURE_NAME = "serving_default"

# What JSON's reader may make of a number, by NumPy's kind. Exact types: to Python, true is an int.
_ACCEPTED: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}


How = bool | pictures.Asked | sessions.Asked
"""By row or by column, of pictures, or in a session."""


class Form(NamedTuple):
    """A form of requests and answers.

    Attributes:
        read: Takes a body and the version that is asked; gives one array for each input,
            (batch, ...), and what `write` needs of the request. Raises ValueError where the body is
            not such a request.
        write: Takes one array for each output, what `read` gave, and the version; gives the body
            of the answer. Raises ValueError where it cannot say them.
    """

    read: Callable[[bytes, Version], tuple[Arrays, Any]]
    write: Callable[[Arrays, Any, Version], str]


class Column(NamedTuple):
    """The values of one input, and how an error line names one of them."""

    values: Any
    head: str
    tail: str = ""

    def path(self, index: tuple[int, ...]) -> str:
        """E.g. `instances[3].signal[0]`, or `inputs.signal[3][0]`."""
        steps = [f"[{i}]" for i in index]
        return "".join([self.head, *steps[:1], self.tail if steps else "", *steps[1:]])


def decode(request: dict[str, Any], signature: Signature) -> tuple[Arrays, bool]:
    """Reads the numbers of a predict request.

    Returns:
        One array for each input, (batch, ...); and whether the request was in rows (`instances`).

    Raises:
        ValueError: The request does not fit the signature.
    """
    check_signature_name(request)
    if ("instances" in request) == ("inputs" in request):
        raise ValueError(
            f"request: got {_keys(request)};"
            " expected either 'instances' (rows) or 'inputs' (columns)."
        )
    by_row = "instances" in request
    names = [spec.name for spec in signature.inputs]
    columns = _rows(request["instances"], names) if by_row else _columns(request["inputs"], names)
    arrays = {spec.name: as_array(columns[spec.name], spec) for spec in signature.inputs}
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{len(array)} of {name!r}" for name, array in arrays.items())
        raise ValueError(f"inputs: got {sizes}; expected the same number of examples of each.")
    return arrays, by_row


def check_signature_name(request: Mapping[str, Any]) -> None:
    """Refuses a signature that is not the only one; an empty name is that one, as in TF Serving."""
    if (name := request.get("signature_name", "")) not in ("", SIGNATURE_NAME):
        raise ValueError(f"signature_name: got {_show(name)}; expected {SIGNATURE_NAME!r}.")


def encode(outputs: Arrays, *, by_row: bool) -> dict[str, Any]:
    """Returns the response; a single output goes without its name, as in TF Serving.

    Raises:
        ValueError: An output is not finite, so that JSON cannot carry it.
    """
    for name, array in outputs.items():
        if not (finite := np.isfinite(array)).all():
            example = int(np.argwhere(~finite)[0][0])
            raise ValueError(
                f"output {name!r} of example {example}: not finite, which JSON cannot carry;"
                " expected inputs in the range that the model was trained on."
            )
    values = {name: array.tolist() for name, array in outputs.items()}
    if len(values) == 1:
        (answer,) = values.values()
    elif by_row:
        rows = zip(*values.values(), strict=True)
        answer = [dict(zip(values, row, strict=True)) for row in rows]
    else:
        answer = values
    return {"predictions" if by_row else "outputs": answer}


def _classified(outputs: Arrays, _: None, version: Version) -> str:
    """`[label, probability]` of each class, the likeliest first."""
    logits, labels = _only(outputs, "classify"), version.manifest.labels
    name = next(iter(outputs))
    meaning = version.manifest.meanings.get(name, "logits of the classes")
    if logits.ndim != 2 or "class" not in meaning:
        raise ValueError(
            f"classify: {name!r} of {version.name} is {meaning}; expected scores of classes. Ask "
            "with :predict."
        )
    if logits.shape[1] == 1 and len(labels) == 2:  # below and above 0
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    shares = logits
    if "logit" in meaning:
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = raised / raised.sum(axis=1, keepdims=True)
    names = labels or tuple(map(str, range(shares.shape[1])))
    rows = [
        [[names[best], float(row[best])] for best in np.argsort(-row, kind="stable")]
        for row in shares
    ]
    return json.dumps({"result": rows})


def _regressed(outputs: Arrays, _: None, version: Version) -> str:
    values = _only(outputs, "regress")
    if values.ndim > 2 or values[0].size != 1:
        raise ValueError(
            f"regress: {version.name} answers {tuple(values.shape[1:])} for an example; expected "
            "one number. Ask with :predict."
        )
    return json.dumps({"result": values.reshape(-1).tolist()})


def _only(outputs: Arrays, verb: str) -> NDArray[Any]:
    if len(outputs) > 1:
        raise ValueError(
            f"{verb}: got a model of {len(outputs)} outputs; expected one of one. Ask with "
            ":predict."
        )
    encode(outputs, by_row=False)  # whether all are finite
    (values,) = outputs.values()
    return values


def _examples(body: bytes, version: Version) -> tuple[Arrays, None]:
    """Reads `{"examples": [{"image": ...}, ...], "context": {...}}`."""
    signature = version.engine.signature
    request = parse(body)
    check_signature_name(request)
    names = [spec.name for spec in signature.inputs]
    examples, context = request.get("examples"), request.get("context", {})
    if type(examples) is not list or not examples or type(context) is not dict:
        raise ValueError(
            f"request: got {_keys(request)}; expected 'examples', a list of objects, and perhaps "
            "'context', an object."
        )
    rows = [context | row if type(row) is dict else row for row in examples]
    columns = _rows(rows, names, head="examples")
    return {spec.name: as_array(columns[spec.name], spec) for spec in signature.inputs}, None


def _predicted(body: bytes, version: Version) -> tuple[Arrays, How]:
    """Numbers by row or by column; or pictures, as `{"instances": [{"b64": "..."}, ...]}`.

    With a `session`, the inputs that are states are not told: the server has them.
    """
    request = parse(body)
    if "session" in request:
        return _in_session(request, version)
    if files := pictures.coded(request.get("instances")):
        return pictures.read(files, version)
    return decode(request, version.engine.signature)


def _answered(outputs: Arrays, how: How, version: Version) -> str:
    if isinstance(how, pictures.Asked):
        return pictures.write(outputs, how, version)
    if isinstance(how, sessions.Asked):
        told, following = version.sessions.next_states(outputs)
        answer = encode(told, by_row=how.by_row)
        version.sessions.end(how.name, following)
        return json.dumps(answer | {"session": how.name})
    return json.dumps(encode(outputs, by_row=how))


def _in_session(request: dict[str, Any], version: Version) -> tuple[Arrays, sessions.Asked]:
    kept, name = version.sessions, request["session"]
    if not kept.states:
        raise ValueError(
            f"session: {version.name} carries no states; expected a model with an input NAME for "
            "an output next_NAME. Ask without a session."
        )
    if type(name) is not str:
        raise ValueError(f"session: got {_show(name)}; expected a name, or an empty one to begin.")
    told = [spec for spec in version.engine.signature.inputs if spec.name not in kept.states]
    signature = version.engine.signature.model_copy(update={"inputs": tuple(told)})
    inputs, by_row = decode(request, signature)
    if any(len(array) > 1 for array in inputs.values()):
        raise ValueError("session: expected one example in a request.")
    own, states = kept.begin(name)
    return {**inputs, **states}, sessions.Asked(own, states if name else None, by_row)


predict = Form(_predicted, _answered)
classify = Form(_examples, _classified)
regress = Form(_examples, _regressed)


def parse(body: bytes) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ValueError: It is none.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"request: not JSON: {error}") from None
    if type(request) is not dict:
        raise ValueError(f"request: got {_show(request)}; expected an object.")
    return request


def _rows(instances: Any, names: list[str], head: str = "instances") -> dict[str, Column]:
    """Turns `[{"a": 1, "b": 2}, ...]`, or the plain values of a single input, into columns."""
    plain = Column(instances, head)
    _check_batch(plain)
    if type(instances[0]) is not dict and len(names) == 1:
        return {names[0]: plain}
    for i, instance in enumerate(instances):
        _check_names(instance, names, f"{head}[{i}]")
    return {
        name: Column([instance[name] for instance in instances], head, f".{name}") for name in names
    }


def _columns(inputs: Any, names: list[str]) -> dict[str, Column]:
    """Takes `{"a": [1, ...], "b": [2, ...]}`, or the plain values of a single input."""
    if type(inputs) is not dict and len(names) == 1:
        return {names[0]: Column(inputs, "inputs")}
    _check_names(inputs, names, "inputs")
    return {name: Column(inputs[name], f"inputs.{name}") for name in names}


def _check_names(value: Any, names: list[str], where: str) -> None:
    if type(value) is not dict or set(value) != set(names):
        got = _keys(value) if type(value) is dict else _show(value)
        raise ValueError(f"{where}: got {got}; expected an object with the keys {_quote(names)}.")


def _check_batch(column: Column) -> None:
    if type(column.values) is not list or not column.values:
        got = _show(column.values)
        raise ValueError(f"{column.head}: got {got}; expected a list of one example or more.")


def as_array(column: Column, spec: TensorSpec) -> NDArray[Any]:
    """Flattens nested lists axis by axis, checking each; NumPy alone would guess and convert."""
    _check_batch(column)
    # A size that may vary is that of the first example; the others of a request follow it.
    first = _shape(column.values[0])
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
    if _shape(example) != tuple(
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
    return ValueError(f"{column.path(index)}: got {_show(got)}; expected {expected}.")


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest and the largest value, as Python numbers: these compare exactly."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of nested lists, going by the first item of each."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _show(value: Any) -> str:
    """A JSON value in an error line: a list by its shape, the rest as JSON writes it."""
    if type(value) is list:
        return _short(f"shape {_shape(value)}")
    return "an object" if type(value) is dict else _short(json.dumps(value))


def _keys(value: dict[str, Any]) -> str:
    return f"the keys {_short(_quote(list(value)))}" if value else "an empty object"


def _quote(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
