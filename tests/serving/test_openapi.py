"""The OpenAPI document: its paths answer, and answers are what it says."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import numpy as np
import pytest

from serving import Server
from tests.serving.kit import GOOD, write_half_plus_three, write_linear, write_sum, write_told
from tests.serving.test_answers import EXAMPLE, PICTURE


@pytest.fixture(scope="module")
def server(folder, linear, pair):
    base = folder / "documented"
    base.mkdir()
    write_sum(base / "sum")
    write_half_plus_three(base / "half")
    told = {"boxes": [[[2, 2, 6, 4]]], "scores": [[0.9]], "classes": [[1]]}
    told["masks"] = np.ones((1, 1, 4, 4))
    write_told(base / "seen", 8, told, task="detect", labels=("a", "b"))
    (base / "many").mkdir()
    write_linear(base / "many" / "1", name="many")
    write_linear(base / "many" / "2", name="many")
    directories = (
        folder / "linear",
        folder / "pair",
        base / "sum",
        base / "seen",
        base / "many",
        base / "half",
    )
    with Server(*directories, port=0, labels={"many": {"stable": 1}}) as server:
        yield server


@pytest.fixture(scope="module")
def document(server):
    return answered(f"{server.root}/openapi.json")[2]


def answered(url, body=None, kind="application/json"):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, {"Content-Type": kind} if data else {})
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, kind, content = answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        status, kind, content = error.code, error.headers["Content-Type"], error.read()
    kind = kind.partition(";")[0]
    return status, kind, json.loads(content) if kind == "application/json" else content.decode()


def filled(path, operations):
    for parameter in operations.get("parameters", ()):
        value = str(parameter["schema"]["enum"][-1])
        path = path.replace("{" + parameter["name"] + "}", value)
    return path


def test_every_path_answers(server, document):
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        url = server.root + filled(path, operations)
        for method in set(operations) - {"parameters"}:
            status, kind, _ = answered(url, {} if method == "post" else None)
            assert status == (400 if method == "post" else 200), path
            assert kind in operations[method]["responses"][str(status)]["content"]


def test_what_a_model_has_is_listed(document):
    paths = set(document["paths"])
    for base in ("/v1/models/linear", "/v1/models/linear/versions/{version}"):
        assert {f"{base}:{verb}" for verb in ("predict", "classify")} <= paths
        assert f"{base}:regress" not in paths  # three numbers
    assert "/v1/models/seen:classify" not in paths and "/v1/models/half:regress" in paths
    assert "/v1/models/pair:classify" not in paths and "/v1/models/linear:generate" not in paths
    assert "/v1/models/many/labels/{label}:predict" in paths and "/metrics" in paths
    assert "/v2/models/many/versions/{version}/infer" in paths
    kinds = document["paths"]["/v1/models/seen:predict"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/png", "application/json"} <= set(kinds)


CODED = {"b64": base64.b64encode(PICTURE).decode()}
TENSOR = {"name": "image", "datatype": "FP32", "shape": [1, 4, 4, 1], "data": [0] * 16}
ASKED = {
    "rows": ("/v1/models/linear:predict", {"instances": [GOOD]}),
    "named rows": ("/v1/models/linear:predict", {"instances": [{"image": GOOD}]}),
    "columns": ("/v1/models/linear:predict", {"inputs": [GOOD], "signature_name": ""}),
    "classes": ("/v1/models/linear:classify", {"examples": [{"image": GOOD}], "context": {}}),
    "infer": ("/v2/models/linear/infer", {"id": "7", "inputs": [TENSOR], "outputs": []}),
    "a session": ("/v1/models/sum:predict", {"session": "", "instances": [[1.0]]}),
    "no session": ("/v1/models/sum:predict", {"instances": [{"x": [1], "total": [2]}]}),
    "a picture": ("/v1/models/seen:predict", {"instances": [CODED]}),
    "a named picture": ("/v1/models/seen:predict", {"instances": [{"image": CODED}]}),
    "a column of pictures": ("/v1/models/seen:predict", {"inputs": {"image": [CODED]}}),
    "numbers": ("/v1/models/seen:predict", {"instances": [EXAMPLE]}),
}


@pytest.mark.oracle
@pytest.mark.parametrize("case", ASKED)
def test_requests_and_answers_are_those_of_the_schemas(server, document, case):
    jsonschema = pytest.importorskip("jsonschema")
    path, body = ASKED[case]
    status, kind, payload = answered(server.root + path, body)
    assert status == 200, payload
    operation = document["paths"][path]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["schema"]
    told = operation["responses"]["200"]["content"][kind]["schema"]
    for value, schema in ((body, asked), (payload, told)):
        whole = {**schema, "components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)
    for value, schema in (({}, asked), ({}, told)):
        whole = {**schema, "components": document["components"]}
        assert not jsonschema.Draft202012Validator(whole).is_valid(value)


@pytest.mark.oracle
def test_what_is_told_of_models_is_as_the_schemas_say(server, document):
    jsonschema = pytest.importorskip("jsonschema")
    for path, operations in document["paths"].items():
        if "get" in operations:
            _, kind, payload = answered(server.root + filled(path, operations))
            told = operations["get"]["responses"]["200"]["content"][kind]["schema"]
            whole = {**told, "components": document["components"]}
            jsonschema.Draft202012Validator(whole).validate(payload)
