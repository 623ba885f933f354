"""The OpenAPI document: every path that answers, what it takes, and what it gives.

Source: https://spec.openapis.org/oas/v3.1.0. Schemas stand once, among the components; a path with
a version or a label refers to those of the model's version that is served now.
"""

from __future__ import annotations

from typing import Any

from serving.answers.pictures import takes_pictures
from serving.answers.writing import captions, translates, writes
from serving.http import schemas
from serving.http.schemas import STRING, Schema
from serving.models.model import Model
from serving.models.repository import Repository
from serving.models.versions import Version
from zoo.common.answers import OF_CLASSES

FINE = "200"
SMALL = {"400": "Not such a request.", "401": "No token.", "404": "Not here.", "405": "Not so."}
BUSY = {"408": "Too slow.", "409": "A session that is asked now.", "413": "Too large.",
        "415": "An encoding.", "500": "The runtime failed.", "503": "Too many wait."}  # fmt: skip
NEITHER_ROW_NOR_TENSOR = {
    "live": {"type": "boolean"}, "ready": {"type": "boolean"}, "status": STRING,
}  # fmt: skip


def document(repository: Repository) -> dict[str, Any]:
    """Returns the OpenAPI document of what is served now."""
    known: dict[str, Schema] = dict(schemas.COMMON)
    health = schemas.an_object(NEITHER_ROW_NOR_TENSOR, needed=())
    paths: dict[str, Any] = {
        path: {"get": _get("Whether it answers and takes requests.", health, *codes)}
        for path, codes in (
            ("/healthz", ()), ("/readyz", ("503",)),
            ("/v2/health/live", ()), ("/v2/health/ready", ("503",)),
        )
    }  # fmt: skip
    paths |= {
        "/v2": {"get": _get("Name and version of the server.", schemas.SERVER)},
        "/models.json": {"get": _get("Models, and which read pictures.", schemas.LISTED)},
        "/openapi.json": {"get": _get("This document.", {"type": "object"})},
        "/": {"get": _get("A page to drop a picture on.", STRING, kind="text/html")},
    }
    for path in ("/metrics", "/monitoring/prometheus/metrics"):
        paths[path] = {"get": _get("Counters, for Prometheus.", STRING, kind="text/plain")}
    for model in repository.models.values():
        _add(model, repository, paths, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "keras-model-zoo serving", "version": "1"},
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": known,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _add(
    model: Model, repository: Repository, paths: dict[str, Any], known: dict[str, Schema]
) -> None:
    version, name = model.pick(), model.name
    known |= {f"{name}.{key}": schema for key, schema in schemas.of_model(version).items()}
    for more, parameters in _versions(model, repository):
        base, second = f"/v1/models/{name}{more}", f"/v2/models/{name}{more}"
        found: dict[str, Any] = {
            base: {"get": _get("Which versions answer.", schemas.ref("Status"))},
            f"{base}/metadata": {"get": _get("Inputs and outputs.", schemas.ref("Metadata"))},
            f"{base}:predict": {"post": _predict(version)},
        }
        if [spec.shape[1:] in ((), (1,)) for spec in version.engine.signature.outputs] == [True]:
            number = "A number for each example."
            found[f"{base}:regress"] = {"post": _post(name, number, "regress")}
        if version.manifest.task in OF_CLASSES:
            classes = "Labels and scores for each example."
            found[f"{base}:classify"] = {"post": _post(name, classes, "classify")}
        if writes(version.manifest):
            what = "Text behind a prompt."
            if translates(version.manifest):
                what = "What is said of a text."
            elif captions(version.manifest):
                what = "What is said of a picture."
            told = _post(name, what, "generate")
            lines = {"schema": {"type": "string"}}  # a line of JSON, {"pieces": [...]}, each
            told["responses"][FINE]["content"]["application/x-ndjson"] = lines
            found[f"{base}:generate"] = {"post": told}
        if "label" not in more:
            found |= {
                second: {"get": _get("Inputs and outputs.", schemas.ref("OpenMetadata"))},
                f"{second}/ready": {"get": _get("Whether it answers.", schemas.READY)},
                f"{second}/infer": {"post": _binary(version) | _said(version)},
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
    operation = _post(version.name, "Outputs for examples.", "predict") | _said(version)
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


_ANSWERS = {"predict": "predicted", "classify": "classified", "regress": "regressed",
            "infer": "inferred", "generate": "generated"}  # fmt: skip


def _binary(version: Version) -> dict[str, Any]:
    """`/infer`, whose tensors may come and go as bytes behind the JSON."""
    operation = _post(version.name, "Outputs for examples.", "infer")
    content = {"schema": {"type": "string", "format": "binary"}}
    header = _parameter("Inference-Header-Content-Length", "header", schemas.COUNT)
    operation["requestBody"]["content"]["application/octet-stream"] = content
    operation["responses"][FINE]["content"]["application/octet-stream"] = content
    return operation | {"parameters": [header]}


def _said(version: Version) -> dict[str, str]:
    """What is to be known of inputs and outputs."""
    lines = [f"{name}: {said}." for name, said in version.told.items()]
    return {"description": " ".join(lines)} if lines else {}


def _post(name: str, summary: str, verb: str) -> dict[str, Any]:
    operation = _get(summary, schemas.ref(f"{name}.{_ANSWERS[verb]}"), *BUSY)
    body = {"required": True, "content": _content(schemas.ref(f"{name}.{verb}"))}
    return operation | {"requestBody": body}


def _get(summary: str, answer: Schema, *codes: str, kind: str = "") -> dict[str, Any]:
    content = {kind: {"schema": answer}} if kind else _content(answer)
    told: dict[str, Any] = {FINE: {"description": "The answer.", "content": content}}
    for code in (*SMALL, *codes):
        what = (SMALL | BUSY)[code]
        told[code] = {"description": what, "content": _content(schemas.ref("Error"))}
    if "503" in codes and kind == "":
        told["503"]["content"] = _content({"type": "object"})
    return {"summary": summary, "responses": told}


def _content(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, place: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
