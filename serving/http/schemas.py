"""JSON schemas of what a model takes and gives, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from export.manifest import Manifest, TensorSpec
from serving.answers import text
from serving.answers.pictures import CODED, takes_pictures
from serving.answers.writing import captions, translates, writes
from serving.http.described import STATES
from serving.http.rest import RESULTS, SIGNATURE_NAME
from serving.models.versions import Version
from serving.wire.dtypes import DTYPES
from zoo.common.tensors import NEXT
from zoo.common.writing import Options

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def of_model(version: Version) -> dict[str, Schema]:
    """Returns what a model takes and gives, by the verb."""
    inputs, outputs = version.engine.signature.inputs, version.engine.signature.outputs
    states = set(version.sessions.states)
    found = {
        "predict": {"anyOf": [_rows(inputs), _columns(inputs)]},
        "predicted": {"anyOf": [_said_by_row(outputs), _said_by_column(outputs)]},
        "regress": _examples(inputs),
        "regressed": an_object({RESULTS: a_list(NUMBER)}),
        "infer": _infer(inputs, outputs),
        "inferred": _inferred(outputs),
    }
    if states:
        told = tuple(spec for spec in inputs if spec.name not in states)
        kept = tuple(spec for spec in outputs if spec.name.removeprefix(NEXT) not in states)
        session = {"session": STRING}
        found["predict"]["anyOf"] += [
            an_object({**session, **form["properties"]}, needed=(*form["required"], "session"))
            for form in (_rows(told), _columns(told))
        ]
        found["predicted"]["anyOf"] += [
            an_object({**session, **form["properties"]})
            for form in (_said_by_row(kept), _said_by_column(kept))
        ]
    if takes_pictures(version):
        file, name = an_object({CODED: STRING}), inputs[0].name
        row = {"anyOf": [file, an_object({name: file})]}
        column = {"anyOf": [a_list(file), an_object({name: a_list(file)})]}
        found["predict"]["anyOf"] += [
            _asked({"instances": a_list(row)}), _asked({"inputs": column})
        ]  # fmt: skip
        answer = {"type": "array", "items": a_list(ref("PictureRow"), least=0)}
        found["predicted"]["anyOf"] += [
            an_object({"predictions": answer}), an_object({"outputs": answer})
        ]  # fmt: skip
        for verb in ("classify", "regress"):
            found[verb] = {"anyOf": [_examples(inputs), _asked({"examples": a_list(row)})]}
    found.setdefault("classify", _examples(inputs))
    either = {"type": ["string", "number"]}  # `prefixItems` is not known to all readers
    pair = {"type": "array", "items": either, "minItems": 2, "maxItems": 2}
    found["classified"] = an_object({RESULTS: a_list(a_list(pair))})
    if writes(version.manifest):
        found["generate"] = _options(version.manifest)
        found["generated"] = an_object({"texts": a_list(STRING)})
    return found


def _options(manifest: Manifest) -> Schema:
    schema = Options.model_json_schema()
    known = schema["properties"]
    known["count"]["maximum"] = text.MOST_TEXTS
    known["tokens"]["maximum"] = text.MOST_TOKENS
    known["prompt"]["maxLength"] = text.MOST_PROMPT
    known["stream"] = {"type": "boolean", "default": False}
    asked = {"type": "object", "properties": known, "additionalProperties": False}
    if translates(manifest):
        known["prompt"]["minLength"] = 1
        asked["required"] = ["prompt"]
    elif captions(manifest):
        known["prompt"]["maxLength"] = 0
        known[text.PICTURE] = an_object({CODED: STRING})
        asked["required"] = [text.PICTURE]
    return asked


def _rows(specs: tuple[TensorSpec, ...]) -> Schema:
    return _asked({"instances": a_list(_row(specs))})


def _columns(specs: tuple[TensorSpec, ...]) -> Schema:
    columns = {spec.name: _nested(spec, (None, *spec.shape[1:])) for spec in specs}
    column: Schema = an_object(columns)
    if len(specs) == 1:
        column = {"anyOf": [column, next(iter(columns.values()))]}
    return _asked({"inputs": column})


def _examples(specs: tuple[TensorSpec, ...]) -> Schema:
    """Inputs that are the same for all examples may stand in `context`."""
    rows = {spec.name: _nested(spec, spec.shape[1:]) for spec in specs}
    row: Schema = an_object(rows, needed=())
    if len(specs) == 1:
        row = {"anyOf": [an_object(rows), next(iter(rows.values()))]}
    asked = _asked({"examples": a_list(row)})
    asked["properties"]["context"] = an_object(rows, needed=())
    return asked


def _row(specs: tuple[TensorSpec, ...]) -> Schema:
    rows = {spec.name: _nested(spec, spec.shape[1:]) for spec in specs}
    named = an_object(rows)
    return {"anyOf": [named, next(iter(rows.values()))]} if len(specs) == 1 else named


def _asked(properties: dict[str, Schema]) -> Schema:
    asked = an_object(properties)
    asked["properties"]["signature_name"] = {"enum": ["", SIGNATURE_NAME]}
    return asked


def _said_by_row(specs: tuple[TensorSpec, ...]) -> Schema:
    values = {spec.name: _nested(spec, spec.shape[1:]) for spec in specs}
    row = an_object(values) if len(specs) > 1 else next(iter(values.values()))
    return an_object({"predictions": a_list(row)})


def _said_by_column(specs: tuple[TensorSpec, ...]) -> Schema:
    values = {spec.name: a_list(_nested(spec, spec.shape[1:])) for spec in specs}
    whole = an_object(values) if len(specs) > 1 else next(iter(values.values()))
    return an_object({"outputs": whole})


def _infer(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Schema:
    tensors = [
        an_object(
            {
                "name": {"const": spec.name},
                "datatype": {"const": DTYPES[spec.dtype].open},
                "shape": a_list({"type": "integer", "minimum": 1}),
                "data": {"type": "array"},
            }
        )
        for spec in inputs
    ]
    num = {"minItems": len(inputs), "maxItems": len(inputs)}
    asked = an_object({"inputs": {"type": "array", "items": {"anyOf": tensors}, **num}})
    chosen = an_object({"name": {"enum": [spec.name for spec in outputs]}})
    asked["properties"] |= {"id": STRING, "outputs": a_list(chosen, least=0)}
    return asked


def _inferred(outputs: tuple[TensorSpec, ...]) -> Schema:
    tensor = an_object(
        {
            "name": {"enum": [spec.name for spec in outputs]},
            "datatype": {"enum": sorted({DTYPES[spec.dtype].open for spec in outputs})},
            "shape": a_list(COUNT, least=0),
            "data": {"type": "array", "items": {"type": ["number", "boolean"]}},
        }
    )
    told = {"model_name": STRING, "model_version": STRING, "outputs": a_list(tensor)}
    found = an_object(told)
    found["properties"]["id"] = STRING
    return found


def ref(name: str) -> Schema:
    """Returns a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(properties: dict[str, Schema], *, needed: tuple[str, ...] | None = None) -> Schema:
    """Returns the schema of an object; `needed` are all, unless told."""
    required = list(properties) if needed is None else list(needed)
    return {"type": "object", "properties": dict(properties), "required": required}


def a_list(items: Schema, least: int = 1) -> Schema:
    """Returns the schema of a list."""
    return {"type": "array", "items": items, "minItems": least}


def _nested(spec: TensorSpec, shape: tuple[int | None, ...]) -> Schema:
    """Nested lists of numbers; a size that may vary is one at least."""
    kind = {"b": "boolean", "f": "number"}.get(_kind(spec.dtype), "integer")
    schema: Schema = {"type": kind}
    for size in reversed(shape):
        schema = a_list(schema, size or 1)
        if size is not None:
            schema["maxItems"] = size
    return schema


def _kind(dtype: str) -> str:
    return "b" if dtype == "bool" else dtype[0]


SERVER = an_object({"name": STRING, "version": STRING, "extensions": a_list(STRING, 0)})
READY = an_object({"name": STRING, "ready": {"type": "boolean"}})
LISTED = an_object(
    {
        "models": a_list(
            an_object(
                {
                    "name": STRING, "version": COUNT, "runtime": STRING,
                    "pictures": {"type": "boolean"},
                }
            ),
            least=0,
        )
    }
)  # fmt: skip
_TENSOR = an_object(
    {"name": STRING, "datatype": STRING, "shape": a_list({"type": "integer", "minimum": -1}, 0)}
)
_MASK = an_object({"size": a_list(COUNT, 2), "counts": STRING})
COMMON: dict[str, Schema] = {
    "Error": an_object({"error": STRING}),
    "Status": an_object(
        {
            "model_version_status": a_list(
                an_object(
                    {
                        "version": STRING,
                        "state": {"enum": list(STATES)},
                        "status": an_object({"error_code": STRING, "error_message": STRING}),
                    }
                )
            )
        }
    ),
    "Metadata": an_object(
        {
            "model_spec": an_object({"name": STRING, "signature_name": STRING, "version": STRING}),
            "metadata": an_object({"signature_def": {"type": "object"}}),
        }
    ),
    "OpenMetadata": an_object(
        {
            "name": STRING, "versions": a_list(STRING), "platform": STRING,
            "inputs": a_list(_TENSOR), "outputs": a_list(_TENSOR),
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
