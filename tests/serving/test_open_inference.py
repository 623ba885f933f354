"""The Open Inference Protocol, with the documents of its specification."""

from __future__ import annotations

import numpy as np
import pytest

from tests.serving.kit import IMAGES, WEIGHTS, call


def url(server, rest=""):
    return f"{server.root}/v2/models/{server.name}{rest}"


def tensor(array, name="image", datatype="FP32", **changes):
    array = np.asarray(array)
    known = {"name": name, "shape": list(array.shape), "datatype": datatype,
             "data": array.reshape(-1).tolist()}  # fmt: skip
    return known | changes


def test_a_model_describes_itself(pair):
    status, payload = call(url(pair))
    assert status == 200
    assert payload == {
        "name": "pair",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [
            {"name": "signal", "datatype": "FP32", "shape": [-1, 5]},
            {"name": "sensor", "datatype": "FP32", "shape": [-1, 2, 2]},
        ],
        "outputs": [
            {"name": "double", "datatype": "FP32", "shape": [-1, 5]},
            {"name": "total", "datatype": "FP32", "shape": [-1]},
        ],
    }
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        assert call(pair.root + path)[0] == 200
    assert call(url(pair, "/ready")) == (200, {"name": "pair", "ready": True})
    assert call(url(pair, "/versions/3/ready"))[0] == 404


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("server", ["linear", "lite"])
def test_inference(server, nested, request):
    server = request.getfixturevalue(server)
    given = tensor(IMAGES) | ({"data": IMAGES.tolist()} if nested else {})
    status, payload = call(url(server, "/infer"), {"id": "7", "inputs": [given]})
    assert status == 200 and payload["id"] == "7"
    assert (payload["model_name"], payload["model_version"]) == (server.name, "1")
    (found,) = payload["outputs"]
    assert (found["name"], found["datatype"], found["shape"]) == ("logits", "FP32", [5, 3])
    expected = IMAGES.reshape(5, 16) @ WEIGHTS
    np.testing.assert_allclose(np.reshape(found["data"], (5, 3)), expected, atol=1e-5)


def test_outputs_may_be_chosen(pair):
    given = [tensor(np.ones((1, 5)), "signal"), tensor(np.ones((1, 2, 2)), "sensor")]
    status, payload = call(url(pair, "/infer"), {"inputs": given, "outputs": [{"name": "total"}]})
    assert status == 200 and [row["name"] for row in payload["outputs"]] == ["total"]
    assert payload["outputs"][0]["data"] == [4.0] and "id" not in payload


GOOD = np.zeros((1, 4, 4, 1))
WRONG = {
    "no inputs": ({}, "inputs: expected a list"),
    "an object": ({"inputs": {}}, "inputs: expected a list"),
    "a name": ({"inputs": [tensor(GOOD, "x")]}, "inputs[0].name: expected one of 'image'"),
    "twice": ({"inputs": [tensor(GOOD)] * 2}, "inputs[1].name: expected one of 'image', each once"),
    "a type": (
        {"inputs": [tensor(GOOD, datatype="FP64")]},
        "inputs.image.datatype: got \"FP64\"; expected 'FP32'",
    ),
    "a shape": (
        {"inputs": [tensor(GOOD, shape=[4, 4, 1])]},
        "inputs.image.shape: got [4, 4, 1]; expected [-1, 4, 4, 1]",
    ),
    "a size of text": ({"inputs": [tensor(GOOD, shape=["1", 4, 4, 1])]}, "inputs.image.shape: got"),
    "a huge shape": (
        {"inputs": [tensor(GOOD, shape=[2**40, 4, 4, 1])]},
        "inputs.image.shape: got",
    ),
    "too few": (
        {"inputs": [tensor(GOOD, data=[1.0])]},
        "inputs.image.data: got 1 values; expected",
    ),
    "text": (
        {"inputs": [tensor(GOOD, data=["a"] * 16)]},
        'inputs.image.data[0]: got "a"; expected',
    ),
    "no data": ({"inputs": [tensor(GOOD, data=None)]}, "inputs.image.data: got null; expected"),
    "another nest": (
        {"inputs": [tensor(GOOD, data=np.zeros((2, 4, 4, 1)).tolist())]},
        "inputs.image.data: got shape (2, 4, 4, 1)",
    ),
    "an id": ({"id": 7, "inputs": [tensor(GOOD)]}, "id: expected a string"),
    "a parameter": (
        {
            "inputs": [tensor(GOOD)],
            "outputs": [{"name": "logits", "parameters": {"classification": 2}}],
        },
        "outputs[0].parameters: got an object; expected 'binary_data' at most",
    ),
    "parameters": ({"parameters": {"priority": 1}, "inputs": [tensor(GOOD)]}, "parameters: got an"),
    "binary data": (
        {"inputs": [tensor(GOOD) | {"parameters": {"binary_data_size": 64}}]},
        "inputs.image: got data and binary_data_size; expected one of them",
    ),
    "nothing": (
        {"inputs": [tensor(np.zeros((0, 4, 4, 1)))]},
        "inputs.image.shape: got [0, 4, 4, 1]; expected [-1, 4, 4, 1], -1 one or more",
    ),
    "an output": ({"inputs": [tensor(GOOD)], "outputs": [{"name": "x"}]}, "outputs[0].name: exp"),
}


def test_no_output_is_every_output_and_a_parameter_that_says_no_is_none(linear):
    whole = call(url(linear, "/infer"), {"inputs": [tensor(GOOD)]})
    assert whole[0] == 200
    no = {"parameters": {"binary_data_output": False}}
    for more in ({"outputs": []}, no, {"outputs": [{"name": "logits", **no}]}):
        assert call(url(linear, "/infer"), {"inputs": [tensor(GOOD)], **more}) == whole


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_refused(linear, case):
    body, part = WRONG[case]
    status, payload = call(url(linear, "/infer"), body)
    assert status == 400 and part in payload["error"]
