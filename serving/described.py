"""What a server says of itself: TF Serving's status and metadata, and an OpenAPI document."""

from __future__ import annotations

from typing import Any

from export.manifest import TensorSpec
from serving.engines import DTYPES
from serving.pictures import takes_pictures
from serving.repository import Model, Repository, Version
from serving.rest import SIGNATURE_NAME


def status(model: Model, chosen: int | None = None) -> dict[str, Any]:
    """Returns TF Serving's `GetModelStatusResponse`, of a version or of all, the newest first."""
    states = dict.fromkeys(model.versions, ("AVAILABLE", "OK", ""))
    states |= {
        number: ("END", "INVALID_ARGUMENT", str(why)) for number, why in model.refused.items()
    }
    return {
        "model_version_status": [
            {
                "version": str(number),
                "state": state,
                "status": {"error_code": code, "error_message": message},
            }
            for number, (state, code, message) in sorted(states.items(), reverse=True)
            if chosen in (None, number)
        ]
    }


def metadata(version: Version) -> dict[str, Any]:
    """Returns TF Serving's `GetModelMetadataResponse`."""
    signature = {
        "inputs": {spec.name: _tensor_info(spec) for spec in version.engine.signature.inputs},
        "outputs": {spec.name: _tensor_info(spec) for spec in version.engine.signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {
            "name": version.name, "signature_name": "", "version": str(version.number)
        },
        "metadata": {"signature_def": {"signature_def": {SIGNATURE_NAME: signature}}},
    }  # fmt: skip


def models(repository: Repository) -> dict[str, Any]:
    """Returns what the page shows of the models."""
    found = []
    for name, model in repository.models.items():
        version = model.pick()
        runtime, reads = version.engine.runtime, takes_pictures(version)
        found.append(
            {"name": name, "version": version.number, "runtime": runtime, "pictures": reads}
        )
    return {"models": found}


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    """The batch may always vary here, also where the file holds a batch of one."""
    sizes = [-1, *(-1 if size is None else size for size in spec.shape[1:])]
    return {
        "name": spec.name,
        "dtype": DTYPES[spec.dtype],
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": False,
        },
    }


def openapi(repository: Repository) -> dict[str, Any]:
    """Returns the OpenAPI document of what is served now."""
    paths: dict[str, Any] = {
        path: {"get": _operation(summary)}
        for path, summary in (
            ("/healthz", "Whether the process answers."),
            ("/readyz", "Whether it takes requests."),
            ("/v2", "Name and version of the server."),
            ("/v2/health/live", "Whether the process answers."),
            ("/v2/health/ready", "Whether it takes requests."),
        )
    }
    for name, model in repository.models.items():
        version = model.pick()
        base, second = f"/v1/models/{name}", f"/v2/models/{name}"
        paths |= {
            base: {"get": _operation("Which versions answer.")},
            f"{base}/metadata": {"get": _operation("Inputs and outputs.")},
            f"{base}:predict": {"post": _operation("Outputs for examples.", _predict(version))},
            f"{base}:classify": {"post": _operation("Classes, likeliest first.", _rows(version))},
            f"{base}:regress": {"post": _operation("A number for each.", _rows(version))},
            f"{base}:generate": {"post": _operation("Text behind a prompt.", _OPTIONS)},
            second: {"get": _operation("Inputs and outputs.")},
            f"{second}/ready": {"get": _operation("Whether the model answers.")},
            f"{second}/infer": {"post": _operation("Outputs for examples.", _infer(version))},
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "keras-model-zoo serving", "version": "1"},
        "paths": paths,
    }


_OPTIONS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string"},
        "tokens": {"type": "integer", "minimum": 1},
        "count": {"type": "integer", "minimum": 1},
        "seed": {"type": "integer", "minimum": 0},
        "temperature": {"type": "number", "minimum": 0},
        "top_k": {"type": "integer", "minimum": 0},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "stream": {"type": "boolean"},
    },
    "additionalProperties": False,
}


def _operation(summary: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "The answer.", "content": _json({})}}
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    codes = {"400": "Not such a request.", "404": "Not here.", "503": "Too many wait."}
    if body is not None:
        codes |= {"408": "Too slow.", "413": "Too large.", "415": "An encoding."}
    answers |= {c: {"description": told, "content": _json(error)} for c, told in codes.items()}
    operation: dict[str, Any] = {"summary": summary, "responses": answers}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _predict(version: Version) -> dict[str, Any]:
    specs = version.engine.signature.inputs
    rows = {spec.name: _nested(spec, spec.shape[1:]) for spec in specs}
    columns = {spec.name: _nested(spec, (None, *spec.shape[1:])) for spec in specs}
    row, column = _object(rows), _object(columns)
    if len(specs) == 1:
        row = {"anyOf": [row, next(iter(rows.values()))]}
        column = {"anyOf": [column, next(iter(columns.values()))]}
    by_row = _object({"instances": {"type": "array", "minItems": 1, "items": row}})
    return {"oneOf": [by_row, _object({"inputs": column})]}


def _rows(version: Version) -> dict[str, Any]:
    specs = version.engine.signature.inputs
    row = _object({spec.name: _nested(spec, spec.shape[1:]) for spec in specs})
    return _object({"examples": {"type": "array", "minItems": 1, "items": row}})


def _infer(version: Version) -> dict[str, Any]:
    from serving.open_inference import DATATYPES

    tensors = [
        _object(
            {
                "name": {"const": spec.name},
                "datatype": {"const": DATATYPES[spec.dtype]},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
                "data": {"type": "array"},
            }
        )
        for spec in version.engine.signature.inputs
    ]
    return _object({"inputs": {"type": "array", "minItems": 1, "items": {"anyOf": tensors}}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _nested(spec: TensorSpec, shape: tuple[int | None, ...]) -> dict[str, Any]:
    kind = {"b": "boolean", "f": "number"}.get(_kind(spec.dtype), "integer")
    schema: dict[str, Any] = {"type": kind}
    for size in reversed(shape):
        schema = {"type": "array", "items": schema, "minItems": size or 1}
        if size is not None:
            schema["maxItems"] = size
    return schema


def _kind(dtype: str) -> str:
    return "b" if dtype == "bool" else dtype[0]
