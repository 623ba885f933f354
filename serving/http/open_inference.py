"""The Open Inference Protocol, version 2, in its REST form.

Source: https://github.com/kserve/open-inference-protocol, rest/inference_rest.yaml. Differs: no
strings (BYTES); a parameter that asks for something else than binary tensors is refused.
"""

from __future__ import annotations

import json
import math
from functools import cache, partial
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from export.manifest import TensorSpec
from serving.engines import Arrays
from serving.http.described import sizes
from serving.http.rest import Content, Form, check_finite
from serving.wire import binary_tensors
from serving.wire.dtypes import DTYPES
from serving.wire.numbers import Numbers
from serving.wire.values import Column, as_array, parse_numbers, show

if TYPE_CHECKING:
    from serving.models.versions import Version

PLATFORMS = {
    "tflite": "tensorflow_tflite",
    "onnx": "onnx_onnxv1",
    "openvino": "openvino_ir",
    "saved_model": "tensorflow_savedmodel",
}  # by how a target's name begins
SERVER = {
    "name": "keras-model-zoo",
    "version": version_of("keras-model-zoo"),
    "extensions": [binary_tensors.EXTENSION],
}


def metadata(version: Version, versions: list[int]) -> dict[str, Any]:
    """Returns what a model reads and answers."""

    def told(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [
            {
                "name": spec.name,
                "datatype": DTYPES[spec.dtype].open,
                "shape": sizes(spec),
            }
            | _meaning(version, spec.name)
            for spec in specs
        ]

    return {
        "name": version.name,
        "versions": list(map(str, versions)),
        "platform": _platform(version.manifest.target),
        "inputs": told(version.engine.signature.inputs),
        "outputs": told(version.engine.signature.outputs),
    }


def _meaning(version: Version, name: str) -> dict[str, Any]:
    return {"parameters": {"meaning": version.told[name]}} if name in version.told else {}


def _read(
    body: bytes, version: Version, told: bytes | None = None
) -> tuple[Arrays, dict[str, Any]]:
    head, tail = binary_tensors.split(body, told)
    request = parse_numbers(head)
    _check_parameters(request, "parameters", binary_tensors.ALL_WANTED)
    specs = {spec.name: spec for spec in version.engine.signature.inputs}
    given = _named(request.get("inputs"), "inputs", list(specs), binary_tensors.SIZE)
    if set(given) != set(specs):
        raise ValueError(f"inputs: got {_told(given)}; expected {_told(specs)}.")
    parts = _parts(given, tail)
    arrays = {name: _tensor(given[name], spec, parts.get(name)) for name, spec in specs.items()}
    if len({len(array) for array in arrays.values()}) > 1:
        raise ValueError("inputs: expected the same number of examples of each.")
    wanted: dict[str, Any] = {spec.name: {} for spec in version.engine.signature.outputs}
    if chosen := request.get("outputs"):
        wanted = _named(chosen, "outputs", list(wanted), binary_tensors.WANTED)
    every = _asked(request, binary_tensors.ALL_WANTED)
    binary = {name for name, one in wanted.items() if _asked(one, binary_tensors.WANTED, every)}
    known = request.get("id")
    if known is not None and type(known) is not str:
        raise ValueError("id: expected a string.")
    return arrays, {"id": known, "outputs": list(wanted), "binary": binary}


def _parts(given: dict[str, dict[str, Any]], tail: memoryview) -> dict[str, memoryview]:
    """The bytes of each input that has some behind the JSON, in the order of the JSON."""
    found = {}
    whole = len(tail)
    for name, tensor in given.items():
        if (size := binary_tensors.size_of(tensor, f"inputs.{name}")) is None:
            continue
        if size > len(tail):
            raise ValueError(
                f"inputs.{name}.parameters.{binary_tensors.SIZE}: got {size}; the body has "
                f"{len(tail)} bytes left behind the JSON."
            )
        found[name], tail = tail[:size], tail[size:]
    if len(tail):
        raise ValueError(
            f"body: got {whole} bytes behind the JSON; expected {whole - len(tail)}, the sum of "
            f"{binary_tensors.SIZE}."
        )
    return found


def _asked(part: dict[str, Any], key: str, else_: bool = False) -> bool:
    """Whether a parameter asks for binary data."""
    wanted = (part.get("parameters") or {}).get(key, else_)
    if type(wanted) is not bool:
        raise ValueError(f"parameters.{key}: got {show(wanted)}; expected true or false.")
    return wanted


def _write(outputs: Arrays, request: dict[str, Any], version: Version) -> bytes | Content:
    chosen, binary = {name: outputs[name] for name in request["outputs"]}, request["binary"]
    check_finite({name: array for name, array in chosen.items() if name not in binary})
    counts, content = binary_tensors.write(chosen, binary)
    dtypes = {spec.name: spec.dtype for spec in version.engine.signature.outputs}
    answer: dict[str, Any] = {
        "model_name": version.name,
        "model_version": str(version.number),
        "outputs": [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": DTYPES[dtypes[name]].open,
                **(
                    {"parameters": {binary_tensors.SIZE: counts[name]}}
                    if name in binary
                    else {"data": array.reshape(-1).tolist()}
                ),
            }
            for name, array in chosen.items()
        ],
    }
    if request["id"] is not None:
        answer["id"] = request["id"]
    head = msgspec.json.encode(answer)
    if not binary:
        return head
    told = (binary_tensors.HEADER, b"%d" % len(head))
    return Content(head + content, b"application/octet-stream", (told,))


def form(told: bytes | None) -> Form:
    """Returns the form of a request.

    Args:
        told: Value of the header `binary_tensors.HEADER`; `None` where there is none.
    """
    return Form(partial(_read, told=told), _write)


def _platform(target: str) -> str:
    return next(told for start, told in PLATFORMS.items() if target.startswith(start))


def _check_parameters(part: dict[str, Any], where: str, known: str) -> None:
    """Refuses parameters but one, and but for those that say no, e.g. `binary_data: false`."""
    given = part.get("parameters") or {}
    if type(given) is not dict or any(value for key, value in given.items() if key != known):
        raise ValueError(f"{where}: got {show(given)}; expected {known!r} at most.")


def _named(tensors: Any, where: str, names: list[str], known: str) -> dict[str, dict[str, Any]]:
    """Tensors of a request, by name."""
    found: dict[str, dict[str, Any]] = {}
    if type(tensors) is not list or not tensors:
        raise ValueError(f"{where}: expected a list of objects, with the names {_told(names)}.")
    for place, tensor in enumerate(tensors):
        name = tensor.get("name") if type(tensor) is dict else None
        if type(name) is not str or name not in names or name in found:
            raise ValueError(f"{where}[{place}].name: expected one of {_told(names)}, each once.")
        _check_parameters(tensor, f"{where}[{place}].parameters", known)
        found[name] = tensor
    return found


def _tensor(
    tensor: dict[str, Any], spec: TensorSpec, part: memoryview | None
) -> np.ndarray[Any, Any]:
    where, expected = f"inputs.{spec.name}", DTYPES[spec.dtype].open
    if (got := tensor.get("datatype")) != expected:
        raise ValueError(f"{where}.datatype: got {json.dumps(got)[:80]}; expected {expected!r}.")
    shape: Any = tensor.get("shape")
    fits = type(shape) is list and len(shape) == len(spec.shape) and all(
        type(size) is int and 0 < size < 2**31 and size == (wanted or size)
        for size, wanted in zip(shape, (None, *spec.shape[1:]), strict=True)
    )  # fmt: skip
    if not fits:
        raise ValueError(
            f"{where}.shape: got {json.dumps(shape)[:80]}; expected {sizes(spec)}, -1 one or more."
        )
    if part is not None:
        return binary_tensors.read(part, spec.dtype, shape, where)
    data, count = tensor.get("data"), math.prod(shape)
    if isinstance(data, Numbers):
        for form in ((count,), tuple(shape)):
            if (found := data.array(form, spec.dtype)) is not None:
                return found.reshape(shape)
        data = data.plain()
    if type(data) is list and data and type(data[0]) is not list:
        if len(data) != count:
            raise ValueError(f"{where}.data: got {len(data)} values; expected {count}.")
        return as_array(Column(data, f"{where}.data"), _flat(spec.dtype)).reshape(shape)
    nested = as_array(Column(data, f"{where}.data"), spec)
    if list(nested.shape) != shape:
        raise ValueError(f"{where}.data: got shape {nested.shape}; expected {tuple(shape)}.")
    return nested


@cache
def _flat(dtype: str) -> TensorSpec:
    return TensorSpec(name="", shape=(None,), dtype=dtype)


def _told(names: Any) -> str:
    return ", ".join(map(repr, names))[:200]
