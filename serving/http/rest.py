"""TF Serving's REST form of requests: JSON to arrays, and arrays to JSON.

Source: https://www.tensorflow.org/tfx/serving/api_rest, "Predict API", "Classify and Regress API".
Differs: all inputs hold the same number of examples; NaN and Infinity, which JSON does not have,
are refused; so are strings and names that the signature does not know. base64 is that of a picture
file, and is answered as `pictures` says. Scores of classes are those of `readings`. Errors are one
line: where, got, expected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from export.manifest import Signature
from serving.answers import pictures, readings
from serving.engines import Arrays
from serving.models import sessions
from serving.wire.values import (
    as_array,
    keys,
    of_columns,
    of_rows,
    parse,
    parse_numbers,
    shape_of,
    show,
)

if TYPE_CHECKING:
    from serving.models.versions import Version

SIGNATURE_NAME = "serving_default"
MOST_SHARED = 2**22  # values that a context becomes, when each example has them
RESULTS = "results"  # TF Serving's page says `result`; its code, and so its clients, `results`

How = bool | pictures.Given | sessions.Turn
"""By row or by column, of pictures, or in a session."""


class Content(NamedTuple):
    """An answer that is not JSON alone.

    Attributes:
        body: The whole.
        kind: Its content type.
        headers: Further ones.
    """

    body: bytes
    kind: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Form(NamedTuple):
    """A form of requests and answers.

    Attributes:
        read: Takes a body and the version that is asked; gives one array for each input,
            (batch, ...), and what `write` needs of the request; or files of pictures, which are not
            decoded yet. Raises ValueError where the body is not such a request.
        write: Takes one array for each output, what `read` gave, and the version; gives the body
            of the answer. Raises ValueError where it cannot say them.
    """

    read: Callable[[bytes, Version], tuple[Arrays, Any] | pictures.Coded]
    write: Callable[[Arrays, Any, Version], str | bytes | Content]


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
            f"request: got {keys(request)};"
            " expected either 'instances' (rows) or 'inputs' (columns)."
        )
    by_row = "instances" in request
    names = [spec.name for spec in signature.inputs]
    given = of_rows(request["instances"], names) if by_row else of_columns(request["inputs"], names)
    arrays = {spec.name: as_array(given[spec.name], spec) for spec in signature.inputs}
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{len(array)} of {name!r}" for name, array in arrays.items())
        raise ValueError(f"inputs: got {sizes}; expected the same number of examples of each.")
    return arrays, by_row


def check_signature_name(request: Mapping[str, Any]) -> None:
    """Refuses a signature that is not the only one; an empty name is that one, as in TF Serving."""
    if (name := request.get("signature_name", "")) not in ("", SIGNATURE_NAME):
        raise ValueError(f"signature_name: got {show(name)}; expected {SIGNATURE_NAME!r}.")


def encode(outputs: Arrays, *, by_row: bool) -> dict[str, Any]:
    """Returns the response; a single output goes without its name, as in TF Serving.

    Raises:
        ValueError: An output is not finite, so that JSON cannot carry it.
    """
    check_finite(outputs)
    values = {name: array.tolist() for name, array in outputs.items()}
    if len(values) == 1:
        (answer,) = values.values()
    elif by_row:
        rows = zip(*values.values(), strict=True)
        answer = [dict(zip(values, row, strict=True)) for row in rows]
    else:
        answer = values
    return {"predictions" if by_row else "outputs": answer}


def check_finite(outputs: Arrays) -> None:
    """Refuses outputs that JSON cannot carry.

    Raises:
        ValueError: One is not finite.
    """
    for name, array in outputs.items():
        if not (finite := np.isfinite(array)).all():
            example = int(np.argwhere(~finite)[0][0])
            raise ValueError(
                f"output {name!r} of example {example}: not finite, which JSON cannot carry;"
                " expected inputs in the range that the model was trained on."
            )


def _classified(outputs: Arrays, _: Any, version: Version) -> str:
    """`[label, score]` of each class, the likeliest first."""
    return json.dumps({RESULTS: readings.scores(version, outputs)})


def _regressed(outputs: Arrays, _: Any, version: Version) -> str:
    return json.dumps({RESULTS: readings.values(version, outputs)})


def _examples(body: bytes, version: Version) -> tuple[Arrays, Any] | pictures.Coded:
    """Reads `{"examples": [{"image": ...}, ...], "context": {...}}`."""
    signature = version.engine.signature
    request = parse(body)
    check_signature_name(request)
    names = [spec.name for spec in signature.inputs]
    examples, context = request.get("examples"), request.get("context", {})
    if type(examples) is not list or not examples or type(context) is not dict:
        raise ValueError(
            f"request: got {keys(request)}; expected 'examples', a list of objects, and perhaps "
            "'context', an object."
        )
    if found := pictures.coded(request, "examples", names[0]):
        return found
    num = len(examples) * sum(math.prod(shape_of(value)) for value in context.values())
    if num > MOST_SHARED:
        raise ValueError(
            f"context: got {num} values for {len(examples)} examples; expected {MOST_SHARED} at "
            "most, as each example has its own copy."
        )
    single = [spec.name for spec in signature.inputs if spec.shape[1:] == (1,)]
    shared = _listed(context, single)
    rows = [shared | _listed(row, single) if type(row) is dict else row for row in examples]
    given = of_rows(rows, names, head="examples")
    return {spec.name: as_array(given[spec.name], spec) for spec in signature.inputs}, None


def _listed(example: dict[str, Any], single: list[str]) -> dict[str, Any]:
    """An example whose features of one value are lists, as TF Serving lets them be values too."""
    return {
        name: [value] if name in single and type(value) in (bool, int, float) else value
        for name, value in example.items()
    }


def _predicted(body: bytes, version: Version) -> tuple[Arrays, How] | pictures.Coded:
    """Numbers by row or by column; or pictures, see `pictures.coded`.

    With a `session`, the inputs that are states are not told: the server has them.
    """
    request = parse_numbers(body)
    if "session" in request:
        return _in_session(request, version)
    given = [key for key in ("instances", "inputs") if key in request]
    name = version.engine.signature.inputs[0].name
    if len(given) == 1 and (found := pictures.coded(request, given[0], name)):
        check_signature_name(request)
        return found
    return decode(request, version.engine.signature)


def _answered(outputs: Arrays, how: How, version: Version) -> str | bytes:
    if isinstance(how, pictures.Given):
        return pictures.write(outputs, how, version)
    if isinstance(how, sessions.Turn):
        told, following = version.sessions.next_states(outputs)
        answer = encode(told, by_row=how.by_row)
        version.sessions.end(how.name, following)
        return msgspec.json.encode(answer | {"session": how.name})
    return msgspec.json.encode(encode(outputs, by_row=how))


def _in_session(request: dict[str, Any], version: Version) -> tuple[Arrays, sessions.Turn]:
    kept, name = version.sessions, request["session"]
    if version.shared:
        raise ValueError(
            "session: several processes serve here, and each has its own; expected one."
        )
    if not kept.states:
        raise ValueError(
            f"session: {version.name} carries no states; expected a model with an input NAME for "
            "an output next_NAME. Ask without a session."
        )
    if type(name) is not str:
        raise ValueError(f"session: got {show(name)}; expected a name, or an empty one to begin.")
    told = [spec for spec in version.engine.signature.inputs if spec.name not in kept.states]
    signature = version.engine.signature.model_copy(update={"inputs": tuple(told)})
    inputs, by_row = decode(request, signature)
    if any(len(array) > 1 for array in inputs.values()):
        raise ValueError("session: expected one example in a request.")
    own, states = kept.begin(name)
    return {**inputs, **states}, sessions.Turn(own, states if name else None, by_row)


predict = Form(_predicted, _answered)
classify = Form(_examples, _classified)
regress = Form(_examples, _regressed)
