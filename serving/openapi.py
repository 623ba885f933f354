"""The OpenAPI document: every path that answers, what it takes, and what it gives.

Source: https://spec.openapis.org/oas/v3.1.0. Schemas stand once, among the components; a path with
a version or a label refers to those of the model's version that is served now.
"""

from __future__ import annotations

from typing import Any

from export.manifest import TensorSpec
from serving import text
from serving.dtypes import DTYPES
from serving.pictures import CODED, takes_pictures
from serving.repository import Model, Repository, Version
from serving.rest import RESULTS, SIGNATURE_NAME
from zoo.common.answers import OF_CLASSES
from zoo.common.tensors import NEXT, TOKENS
from zoo.common.writing import Options

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FINE = "200"
SMALL = {"400": "Not such a request.", "401": "No token.", "404": "Not here.", "405": "Not so."}
BUSY = {"408": "Too slow.", "409": "A session that is asked now.", "413": "Too large.",
        "415": "An encoding.", "500": "The runtime failed.", "503": "Too many wait."}  # fmt: skip
NEITHER_ROW_NOR_TENSOR = {
    "live": {"type": "boolean"}, "ready": {"type": "boolean"}, "status": STRING,
}  # fmt: skip


def document(repository: Repository) -> dict[str, Any]:
    """Returns the OpenAPI document of what is served now."""
    schemas: dict[str, Schema] = dict(_COMMON)
    health = _object(NEITHER_ROW_NOR_TENSOR, needed=())
    paths: dict[str, Any] = {
        path: {"get": _get("Whether it answers and takes requests.", health, *codes)}
        for path, codes in (
            ("/healthz", ()), ("/readyz", ("503",)),
            ("/v2/health/live", ()), ("/v2/health/ready", ("503",)),
        )
    }  # fmt: skip
    paths |= {
        "/v2": {"get": _get("Name and version of the server.", _SERVER)},
        "/models.json": {"get": _get("Models, and which read pictures.", _LISTED)},
        "/openapi.json": {"get": _get("This document.", {"type": "object"})},
        "/": {"get": _get("A page to drop a picture on.", STRING, kind="text/html")},
    }
    for path in ("/metrics", "/monitoring/prometheus/metrics"):
        paths[path] = {"get": _get("Counters, for Prometheus.", STRING, kind="text/plain")}
    for model in repository.models.values():
        _add(model, repository, paths, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "keras-model-zoo serving", "version": "1"},
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _add(
    model: Model, repository: Repository, paths: dict[str, Any], schemas: dict[str, Schema]
) -> None:
    version, name = model.pick(), model.name
    schemas |= {f"{name}.{key}": schema for key, schema in _schemas(version).items()}
    for more, parameters in _versions(model, repository):
        base, second = f"/v1/models/{name}{more}", f"/v2/models/{name}{more}"
        found: dict[str, Any] = {
            base: {"get": _get("Which versions answer.", _ref("Status"))},
            f"{base}/metadata": {"get": _get("Inputs and outputs.", _ref("Metadata"))},
            f"{base}:predict": {"post": _predict(version)},
        }
        if [spec.shape[1:] in ((), (1,)) for spec in version.engine.signature.outputs] == [True]:
            number = "A number for each example."
            found[f"{base}:regress"] = {"post": _post(name, number, "regress")}
        if version.manifest.task in OF_CLASSES:
            classes = "Labels and scores for each example."
            found[f"{base}:classify"] = {"post": _post(name, classes, "classify")}
        if _writes(version):
            told = _post(name, "Text behind a prompt.", "generate")
            lines = {"schema": {"type": "string"}}  # a line of JSON, {"pieces": [...]}, each
            told["responses"][FINE]["content"]["application/x-ndjson"] = lines
            found[f"{base}:generate"] = {"post": told}
        if "label" not in more:
            found |= {
                second: {"get": _get("Inputs and outputs.", _ref("OpenMetadata"))},
                f"{second}/ready": {"get": _get("Whether it answers.", _READY)},
                f"{second}/infer": {"post": _post(name, "Outputs for examples.", "infer")},
            }
        for operations in found.values():
            if parameters:
                operations["parameters"] = parameters
        paths |= found


def _versions(model: Model, repository: Repository) -> list[tuple[str, list[Schema]]]:
    """What may stand behind a model's name in a path, and what it is filled with."""
    known = sorted({*model.versions, *model.refused})
    numbers = {"type": "integer", "enum": known}
    found: list[tuple[str, list[Schema]]] = [("", [])]
    found.append(("/versions/{version}", [_parameter("version", "path", numbers)]))
    if labels := sorted(model.labels):
        names = {"type": "string", "enum": labels}
        found.append(("/labels/{label}", [_parameter("label", "path", names)]))
    return found


def _predict(version: Version) -> dict[str, Any]:
    operation = _post(version.name, "Outputs for examples.", "predict")
    if takes_pictures(version):
        file = {"type": "string", "contentMediaType": "image/*", "format": "binary"}
        parts = {"type": "object", "properties": {"file": {"type": "array", "items": file}}}
        operation["requestBody"]["content"] |= {
            "image/png": {"schema": file},
            "image/jpeg": {"schema": file},
            "multipart/form-data": {"schema": parts},
        }
        top = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 3}
        operation["parameters"] = [_parameter("top", "query", top)]
    return operation


def _schemas(version: Version) -> dict[str, Schema]:
    """What a model takes and gives, by the verb."""
    inputs, outputs = version.engine.signature.inputs, version.engine.signature.outputs
    states = set(version.sessions.states)
    found = {
        "predict": {"anyOf": [_rows(inputs), _columns(inputs)]},
        "predicted": {"anyOf": [_said_by_row(outputs), _said_by_column(outputs)]},
        "regress": _examples(inputs),
        "regressed": _object({RESULTS: _list(NUMBER)}),
        "infer": _infer(inputs, outputs),
        "inferred": _inferred(outputs),
    }
    if states:
        told = tuple(spec for spec in inputs if spec.name not in states)
        kept = tuple(spec for spec in outputs if spec.name.removeprefix(NEXT) not in states)
        session = {"session": STRING}
        found["predict"]["anyOf"] += [
            _object({**session, **form["properties"]}, needed=(*form["required"], "session"))
            for form in (_rows(told), _columns(told))
        ]
        found["predicted"]["anyOf"] += [
            _object({**session, **form["properties"]})
            for form in (_said_by_row(kept), _said_by_column(kept))
        ]
    if takes_pictures(version):
        file, name = _object({CODED: STRING}), inputs[0].name
        row = {"anyOf": [file, _object({name: file})]}
        column = {"anyOf": [_list(file), _object({name: _list(file)})]}
        found["predict"]["anyOf"] += [
            _asked({"instances": _list(row)}), _asked({"inputs": column})
        ]  # fmt: skip
        answer = {"type": "array", "items": _list(_ref("PictureRow"), least=0)}
        found["predicted"]["anyOf"] += [
            _object({"predictions": answer}), _object({"outputs": answer})
        ]  # fmt: skip
        for verb in ("classify", "regress"):
            found[verb] = {"anyOf": [_examples(inputs), _asked({"examples": _list(row)})]}
    found.setdefault("classify", _examples(inputs))
    either = {"type": ["string", "number"]}  # `prefixItems` is not known to all readers
    pair = {"type": "array", "items": either, "minItems": 2, "maxItems": 2}
    found["classified"] = _object({RESULTS: _list(_list(pair))})
    if _writes(version):
        found["generate"] = _options()
        found["generated"] = _object({"texts": _list(STRING)})
    return found


def _writes(version: Version) -> bool:
    """Whether it is a language model."""
    names = {spec.name for spec in version.engine.signature.inputs}
    return TOKENS in names and bool(version.manifest.labels)


def _options() -> Schema:
    schema = Options.model_json_schema()
    known = schema["properties"]
    known["count"]["maximum"] = text.MOST_TEXTS
    known["tokens"]["maximum"] = text.MOST_TOKENS
    known["prompt"]["maxLength"] = text.MOST_PROMPT
    known["stream"] = {"type": "boolean", "default": False}
    return {"type": "object", "properties": known, "additionalProperties": False}


def _rows(specs: tuple[TensorSpec, ...]) -> Schema:
    return _asked({"instances": _list(_row(specs))})


def _columns(specs: tuple[TensorSpec, ...]) -> Schema:
    columns = {spec.name: _nested(spec, (None, *spec.shape[1:])) for spec in specs}
    column: Schema = _object(columns)
    if len(specs) == 1:
        column = {"anyOf": [column, next(iter(columns.values()))]}
    return _asked({"inputs": column})


def _examples(specs: tuple[TensorSpec, ...]) -> Schema:
    """Inputs that are the same for all examples may stand in `context`."""
    rows = {spec.name: _nested(spec, spec.shape[1:]) for spec in specs}
    row: Schema = _object(rows, needed=())
    if len(specs) == 1:
        row = {"anyOf": [_object(rows), next(iter(rows.values()))]}
    asked = _asked({"examples": _list(row)})
    asked["properties"]["context"] = _object(rows, needed=())
    return asked


def _row(specs: tuple[TensorSpec, ...]) -> Schema:
    rows = {spec.name: _nested(spec, spec.shape[1:]) for spec in specs}
    named = _object(rows)
    return {"anyOf": [named, next(iter(rows.values()))]} if len(specs) == 1 else named


def _asked(properties: dict[str, Schema]) -> Schema:
    asked = _object(properties)
    asked["properties"]["signature_name"] = {"enum": ["", SIGNATURE_NAME]}
    return asked


def _said_by_row(specs: tuple[TensorSpec, ...]) -> Schema:
    values = {spec.name: _nested(spec, spec.shape[1:]) for spec in specs}
    row = _object(values) if len(specs) > 1 else next(iter(values.values()))
    return _object({"predictions": _list(row)})


def _said_by_column(specs: tuple[TensorSpec, ...]) -> Schema:
    values = {spec.name: _list(_nested(spec, spec.shape[1:])) for spec in specs}
    whole = _object(values) if len(specs) > 1 else next(iter(values.values()))
    return _object({"outputs": whole})


def _infer(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Schema:
    tensors = [
        _object(
            {
                "name": {"const": spec.name},
                "datatype": {"const": DTYPES[spec.dtype].open},
                "shape": _list({"type": "integer", "minimum": 1}),
                "data": {"type": "array"},
            }
        )
        for spec in inputs
    ]
    num = {"minItems": len(inputs), "maxItems": len(inputs)}
    asked = _object({"inputs": {"type": "array", "items": {"anyOf": tensors}, **num}})
    chosen = _object({"name": {"enum": [spec.name for spec in outputs]}})
    asked["properties"] |= {"id": STRING, "outputs": _list(chosen, least=0)}
    return asked


def _inferred(outputs: tuple[TensorSpec, ...]) -> Schema:
    tensor = _object(
        {
            "name": {"enum": [spec.name for spec in outputs]},
            "datatype": {"enum": sorted({DTYPES[spec.dtype].open for spec in outputs})},
            "shape": _list(COUNT, least=0),
            "data": {"type": "array", "items": {"type": ["number", "boolean"]}},
        }
    )
    told = {"model_name": STRING, "model_version": STRING, "outputs": _list(tensor)}
    found = _object(told)
    found["properties"]["id"] = STRING
    return found


_ANSWERS = {"predict": "predicted", "classify": "classified", "regress": "regressed",
            "infer": "inferred", "generate": "generated"}  # fmt: skip


def _post(name: str, summary: str, verb: str) -> dict[str, Any]:
    operation = _get(summary, _ref(f"{name}.{_ANSWERS[verb]}"), *BUSY)
    body = {"required": True, "content": _content(_ref(f"{name}.{verb}"))}
    return operation | {"requestBody": body}


def _get(summary: str, answer: Schema, *codes: str, kind: str = "") -> dict[str, Any]:
    content = {kind: {"schema": answer}} if kind else _content(answer)
    told: dict[str, Any] = {FINE: {"description": "The answer.", "content": content}}
    for code in (*SMALL, *codes):
        what = (SMALL | BUSY)[code]
        told[code] = {"description": what, "content": _content(_ref("Error"))}
    if "503" in codes and kind == "":
        told["503"]["content"] = _content({"type": "object"})
    return {"summary": summary, "responses": told}


def _content(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, place: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Schema], *, needed: tuple[str, ...] | None = None) -> Schema:
    required = list(properties) if needed is None else list(needed)
    return {"type": "object", "properties": dict(properties), "required": required}


def _list(items: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _nested(spec: TensorSpec, shape: tuple[int | None, ...]) -> Schema:
    """Nested lists of numbers; a size that may vary is one at least."""
    kind = {"b": "boolean", "f": "number"}.get(_kind(spec.dtype), "integer")
    schema: Schema = {"type": kind}
    for size in reversed(shape):
        schema = _list(schema, size or 1)
        if size is not None:
            schema["maxItems"] = size
    return schema


def _kind(dtype: str) -> str:
    return "b" if dtype == "bool" else dtype[0]


_SERVER = _object({"name": STRING, "version": STRING, "extensions": _list(STRING, 0)})
_READY = _object({"name": STRING, "ready": {"type": "boolean"}})
_LISTED = _object(
    {
        "models": _list(
            _object(
                {
                    "name": STRING, "version": COUNT, "runtime": STRING,
                    "pictures": {"type": "boolean"},
                }
            ),
            least=0,
        )
    }
)  # fmt: skip
_TENSOR = _object(
    {"name": STRING, "datatype": STRING, "shape": _list({"type": "integer", "minimum": -1}, 0)}
)
_MASK = _object({"size": _list(COUNT, 2), "counts": STRING})
_COMMON: dict[str, Schema] = {
    "Error": _object({"error": STRING}),
    "Status": _object(
        {
            "model_version_status": _list(
                _object(
                    {
                        "version": STRING,
                        "state": {"enum": ["AVAILABLE", "END"]},
                        "status": _object({"error_code": STRING, "error_message": STRING}),
                    }
                )
            )
        }
    ),
    "Metadata": _object(
        {
            "model_spec": _object({"name": STRING, "signature_name": STRING, "version": STRING}),
            "metadata": _object({"signature_def": {"type": "object"}}),
        }
    ),
    "OpenMetadata": _object(
        {
            "name": STRING, "versions": _list(STRING), "platform": STRING,
            "inputs": _list(_TENSOR), "outputs": _list(_TENSOR),
        }
    ),
    "PictureRow": {
        "type": "object",
        "properties": {
            **dict.fromkeys(("label", "phrase", "trait"), STRING),
            **dict.fromkeys(("probability", "score", "share", "value"), NUMBER),
            **dict.fromkeys(("y", "x", "y1", "x1", "y2", "x2", "a", "b", "degrees"), NUMBER),
            **dict.fromkeys(("point", "place"), COUNT),
            "mask": _MASK,
        },
        "additionalProperties": False,
    },
}  # fmt: skip
