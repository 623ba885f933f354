"""The Open Inference Protocol, version 2, in its REST form.

Source: https://github.com/kserve/open-inference-protocol, rest/inference_rest.yaml. Differs: no
strings (BYTES), no binary extension; a parameter that asks for something is refused.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from export.manifest import TensorSpec
from serving.described import sizes
from serving.dtypes import DTYPES
from serving.engines import Arrays
from serving.numbers import Numbers
from serving.rest import Form, check_finite
from serving.values import Column, as_array, parse_numbers, show

if TYPE_CHECKING:
    from serving.repository import Version

PLATFORMS = {
    "tflite": "tensorflow_tflite",
    "onnx": "onnx_onnxv1",
    "openvino": "openvino_ir",
    "saved_model": "tensorflow_savedmodel",
}  # by how a target's name begins
SERVER = {"name": "keras-model-zoo", "version": version_of("keras-model-zoo"), "extensions": []}


def metadata(version: Version, versions: list[int]) -> dict[str, Any]:
    """Returns what a model reads and answers."""

    def told(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [
            {
                "name": spec.name,
                "datatype": DTYPES[spec.dtype].open,
                "shape": sizes(spec),
            }
            for spec in specs
        ]

    return {
        "name": version.name,
        "versions": list(map(str, versions)),
        "platform": _platform(version.manifest.target),
        "inputs": told(version.engine.signature.inputs),
        "outputs": told(version.engine.signature.outputs),
    }


def _read(body: bytes, version: Version) -> tuple[Arrays, dict[str, Any]]:
    request = parse_numbers(body)
    _check_parameters(request, "parameters")
    specs = {spec.name: spec for spec in version.engine.signature.inputs}
    given = _named(request.get("inputs"), "inputs", list(specs))
    if set(given) != set(specs):
        raise ValueError(f"inputs: got {_told(given)}; expected {_told(specs)}.")
    arrays = {name: _tensor(given[name], spec) for name, spec in specs.items()}
    if len({len(array) for array in arrays.values()}) > 1:
        raise ValueError("inputs: expected the same number of examples of each.")
    outputs = [spec.name for spec in version.engine.signature.outputs]
    wanted = (
        list(_named(request["outputs"], "outputs", outputs)) if request.get("outputs") else outputs
    )
    known = request.get("id")
    if known is not None and type(known) is not str:
        raise ValueError("id: expected a string.")
    return arrays, {"id": known, "outputs": wanted}


def _write(outputs: Arrays, request: dict[str, Any], version: Version) -> bytes:
    chosen = {name: outputs[name] for name in request["outputs"]}
    check_finite(chosen)
    dtypes = {spec.name: spec.dtype for spec in version.engine.signature.outputs}
    answer: dict[str, Any] = {
        "model_name": version.name,
        "model_version": str(version.number),
        "outputs": [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": DTYPES[dtypes[name]].open,
                "data": array.reshape(-1).tolist(),
            }
            for name, array in chosen.items()
        ],
    }
    if request["id"] is not None:
        answer["id"] = request["id"]
    return msgspec.json.encode(answer)


infer = Form(_read, _write)


def _platform(target: str) -> str:
    return next(told for start, told in PLATFORMS.items() if target.startswith(start))


def _check_parameters(part: dict[str, Any], where: str) -> None:
    """Refuses parameters, but for those that say no, e.g. `binary_data: false`."""
    given = part.get("parameters") or {}
    if type(given) is not dict or any(value for value in given.values()):
        raise ValueError(f"{where}: got {show(given)}; expected none: this server has none.")


def _named(tensors: Any, where: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Tensors of a request, by name."""
    found: dict[str, dict[str, Any]] = {}
    if type(tensors) is not list or not tensors:
        raise ValueError(f"{where}: expected a list of objects, with the names {_told(names)}.")
    for place, tensor in enumerate(tensors):
        name = tensor.get("name") if type(tensor) is dict else None
        if type(name) is not str or name not in names or name in found:
            raise ValueError(f"{where}[{place}].name: expected one of {_told(names)}, each once.")
        _check_parameters(tensor, f"{where}[{place}].parameters")
        found[name] = tensor
    return found


def _tensor(tensor: dict[str, Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    where, expected = f"inputs.{spec.name}", DTYPES[spec.dtype].open
    if (got := tensor.get("datatype")) != expected:
        raise ValueError(f"{where}.datatype: got {json.dumps(got)[:80]}; expected {expected!r}.")
    shape: Any = tensor.get("shape")
    fits = type(shape) is list and len(shape) == len(spec.shape) and all(
        type(size) is int and 0 < size < 2**31 and size == (wanted or size)
        for size, wanted in zip(shape, (None, *spec.shape[1:]), strict=True)
    )  # fmt: skip
    if not fits:
        raise ValueError(f"{where}.shape: got {json.dumps(shape)[:80]}; expected {sizes(spec)}.")
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
