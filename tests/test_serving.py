"""Serving: real files, real runtimes, real sockets on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.manifest import Manifest, Parity, Signature, TensorSpec, digest
from serving import Server
from serving.__main__ import main

RANDOM = np.random.RandomState(7)
WEIGHTS = RANDOM.randn(16, 3).astype("float32")
IMAGES = RANDOM.randn(5, 4, 4, 1).astype("float32")

PARITY = Parity(
    runtime="test",
    samples=1,
    inputs="random",
    max_abs=0,
    relative=0,
    top1_agreement=1,
    max_relative=1e-4,
    min_top1_agreement=1,
    passed=True,
)


def spec(name, shape, dtype="float32"):
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def write_manifest(directory, *, file, inputs, outputs, **changes):
    manifest = Manifest(
        name=directory.name,
        target="onnx",
        file=file,
        size_bytes=0,
        gzip_bytes=0,
        sha256=digest(directory / file),
        signature=Signature(inputs=tuple(inputs), outputs=tuple(outputs)),
        precision="float32",
        parity=PARITY,
    )
    manifest.model_copy(update=changes).write(directory)
    return directory


def write_onnx(directory, nodes, inputs, outputs, constants=(), **changes):
    """A graph of `nodes`; specs with `None` become dynamic dimensions of the file."""

    def infos(specs):
        types = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
        return [helper.make_tensor_value_info(s.name, types[s.dtype], list(s.shape)) for s in specs]

    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "graph", infos(inputs), infos(outputs), held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    directory.mkdir()
    onnx.save(model, directory / "model.onnx")
    return write_manifest(directory, file="model.onnx", inputs=inputs, outputs=outputs, **changes)


def write_half_plus_three(directory):
    """TF Serving's toy: x / 2 + 3, one number for each instance."""
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "three"], ["y"]),
    ]
    constants = [("half", np.float32(0.5)), ("three", np.float32(3))]
    return write_onnx(directory, nodes, [spec("x", (None,))], [spec("y", (None,))], constants)


def write_linear(directory, batch=None, **changes):
    """A linear classifier of 4x4 images into three classes."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    inputs, outputs = [spec("image", (batch, 4, 4, 1))], [spec("logits", (batch, 3))]
    return write_onnx(directory, nodes, inputs, outputs, [("weights", WEIGHTS)], **changes)


def write_pair(directory):
    """Two inputs and two outputs, with the names of TF Serving's documentation."""
    nodes = [
        helper.make_node("Add", ["signal", "signal"], ["double"]),
        helper.make_node("ReduceSum", ["sensor", "axes"], ["total"], keepdims=0),
    ]
    inputs = [spec("signal", (None, 5)), spec("sensor", (None, 2, 2))]
    outputs = [spec("double", (None, 5)), spec("total", (None,))]
    return write_onnx(directory, nodes, inputs, outputs, [("axes", np.array([1, 2]))])


def write_lookup(directory):
    """Rows of a table of four: the runtime itself refuses an index of four and more."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["index"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "index"], ["rows"]),
    ]
    table = np.array([1, np.inf, 3, 4], "float32")
    inputs, outputs = [spec("ids", (None, 2), "uint8")], [spec("rows", (None, 2))]
    return write_onnx(directory, nodes, inputs, outputs, [("table", table)])


def write_tflite(directory, io):
    """The linear classifier as `zoo export` writes it: one signature, a batch of one."""
    import tensorflow as tf

    class Net(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(WEIGHTS)

        @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 1), tf.float32, "image")])
        def __call__(self, image):
            return {"logits": tf.reshape(image, (1, 16)) @ self.weights}

    net = Net()
    directory.mkdir()
    saved = directory.parent / f"{directory.name}-saved"
    tf.saved_model.save(net, str(saved), signatures={"serving_default": net.__call__})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if io != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in IMAGES)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(io)
    (directory / "model.tflite").write_bytes(converter.convert())
    return write_manifest(
        directory,
        target="tflite" if io == "float32" else "tflite-int8",
        file="model.tflite",
        inputs=[spec("image", (1, 4, 4, 1), io)],
        outputs=[spec("logits", (1, 3), io)],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serving")


def served(write, name, *arguments):
    """A fixture: the server of a directory, for the whole module."""

    @pytest.fixture(scope="module", name=name)
    def fixture(folder):
        with Server(write(folder / name, *arguments), port=0) as server:
            yield server

    return fixture


half_plus_three = served(write_half_plus_three, "half_plus_three")
linear = served(write_linear, "linear")
pair = served(write_pair, "pair")
lookup = served(write_lookup, "lookup")
lite = served(write_tflite, "lite", "float32")
lite_int8 = served(write_tflite, "lite_int8", "int8")


def call(url, body=None):
    """Returns status and payload; `body` is bytes, or an object to send as JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    connection.request("GET" if body is None else "POST", parts.path, data)
    with contextlib.closing(connection), connection.getresponse() as response:
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.load(response)


def predict(server, body):
    return call(f"{server.url}:predict", body)


def connect(server):
    parts = urlsplit(server.url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)


def model_path(server):
    return urlsplit(server.url).path


# --- TF Serving's documented examples, https://www.tensorflow.org/tfx/serving/api_rest ------------


def test_documented_predict(half_plus_three):
    body = b'{"instances": [1.0,2.0,5.0]}'
    assert predict(half_plus_three, body) == (200, {"predictions": [3.5, 4.0, 5.5]})


def test_documented_status(half_plus_three):
    status, payload = call(half_plus_three.url)
    assert status == 200
    assert payload == {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def test_documented_unknown_model(half_plus_three):
    url = half_plus_three.url.replace("half_plus_three", "half")
    status, payload = call(f"{url}:predict", b'{"instances": [1.0,5.0]}')
    assert status == 404
    assert list(payload) == ["error"]
    assert "half_plus_three" in payload["error"]


def test_documented_rows_of_named_tensors(pair):
    body = b"""
    {
     "instances": [
       {
         "signal": [1, 2, 3, 4, 5],
         "sensor": [[1, 2], [3, 4]]
       },
       {
         "signal": [3, 4, 1, 2, 5],
         "sensor": [[4, 5], [6, 8]]
       }
     ]
    }
    """
    answer = {
        "predictions": [
            {"double": [2, 4, 6, 8, 10], "total": 10},
            {"double": [6, 8, 2, 4, 10], "total": 23},
        ]
    }
    assert predict(pair, body) == (200, answer)


def test_documented_columns_of_named_tensors(pair):
    body = b"""
    {
     "inputs": {
       "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
       "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]
     }
    }
    """
    answer = {"outputs": {"double": [[2, 4, 6, 8, 10], [6, 8, 2, 4, 10]], "total": [10, 23]}}
    assert predict(pair, body) == (200, answer)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"inputs": [1.0, 2]}, {"outputs": [3.5, 4.0]}),
        ({"inputs": {"x": [1.0, 2]}}, {"outputs": [3.5, 4.0]}),
        ({"instances": [{"x": 1}, {"x": 2.0}]}, {"predictions": [3.5, 4.0]}),
        (
            {"signature_name": "serving_default", "instances": [1]},
            {"predictions": [3.5]},
        ),
        ({"instances": [1], "parameters": {}}, {"predictions": [3.5]}),
    ],
)
def test_a_single_tensor_may_go_without_its_name(half_plus_three, body, answer):
    assert predict(half_plus_three, body) == (200, answer)
    versioned = half_plus_three.url + "/versions/1"
    assert call(f"{versioned}:predict", body) == (200, answer)


@pytest.mark.oracle
def test_metadata_is_the_signature_that_tensorflow_reads(pair):
    from google.protobuf import json_format
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import meta_graph_pb2

    status, payload = call(f"{pair.url}/metadata")
    assert status == 200
    assert payload["model_spec"] == {"name": "pair", "signature_name": "", "version": "1"}
    written = payload["metadata"]["signature_def"]["signature_def"]["serving_default"]
    read = json_format.ParseDict(written, meta_graph_pb2.SignatureDef())
    sensor = read.inputs["sensor"]
    assert sensor.dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in sensor.tensor_shape.dim] == [-1, 2, 2]
    assert set(read.inputs) == {"signal", "sensor"}
    assert set(read.outputs) == {"double", "total"}


# --- The runtimes ---------------------------------------------------------------------------------


def test_onnx_answers_as_onnx_runtime(linear, folder):
    session = onnxruntime.InferenceSession(folder / "linear" / "model.onnx")
    (expected,) = session.run(None, {"image": IMAGES})
    status, payload = predict(linear, {"instances": IMAGES.tolist()})
    assert status == 200
    np.testing.assert_array_equal(np.float32(payload["predictions"]), expected)
    np.testing.assert_allclose(expected, IMAGES.reshape(5, 16) @ WEIGHTS, rtol=1e-4, atol=1e-5)


def runner_of(folder, name):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / name / "model.tflite"))
    return interpreter.get_signature_runner("serving_default")


def test_tflite_answers_as_litert(lite, folder):
    runner = runner_of(folder, "lite")
    expected = np.concatenate([runner(image=image[None])["logits"] for image in IMAGES])
    status, payload = predict(lite, {"instances": IMAGES.tolist()})
    assert status == 200
    np.testing.assert_array_equal(np.float32(payload["predictions"]), expected)
    np.testing.assert_allclose(expected, IMAGES.reshape(5, 16) @ WEIGHTS, rtol=1e-4, atol=1e-5)


def test_int8_file_takes_and_gives_real_numbers(lite_int8, folder):
    runner = runner_of(folder, "lite_int8")
    scale, zero = runner.get_input_details()["image"]["quantization"]
    out_scale, out_zero = runner.get_output_details()["logits"]["quantization"]
    far = np.concatenate([IMAGES, np.full((1, 4, 4, 1), 1e6, "float32")])  # beyond the range
    expected = []
    for image in far:
        steps = [min(127, max(-128, round(float(x) / scale) + zero)) for x in image.flat]
        stored = np.array(steps, "int8").reshape(1, 4, 4, 1)
        expected += ((runner(image=stored)["logits"].astype(float) - out_zero) * out_scale).tolist()
    status, payload = predict(lite_int8, {"instances": far.tolist()})
    assert status == 200
    np.testing.assert_allclose(payload["predictions"], expected, rtol=1e-6)
    np.testing.assert_allclose(expected[:5], IMAGES.reshape(5, 16) @ WEIGHTS, atol=0.3)
    _, metadata = call(f"{lite_int8.url}/metadata")
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["image"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["image"]["tensor_shape"]["dim"][0]["size"] == "-1"


@pytest.mark.parametrize("name", ["linear", "lite"])
def test_eight_clients_get_their_own_answers(name, request):
    server = request.getfixturevalue(name)
    images = np.random.RandomState(1).randn(8, 20, 4, 4, 1).astype("float32")
    expected = images.reshape(8, 20, 16) @ WEIGHTS

    def client(k):
        connection = connect(server)
        answers = []
        for image in images[k]:
            body = json.dumps({"instances": [image.tolist()]})
            connection.request("POST", f"{model_path(server)}:predict", body)
            answers += json.load(connection.getresponse())["predictions"]
        connection.close()
        return answers

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(client, range(8)))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_a_failing_runtime_is_a_500_and_the_server_lives(lookup, capfd):
    status, payload = predict(lookup, {"instances": [[3, 4]]})
    assert status == 500
    assert payload["error"].startswith("ONNX Runtime")
    assert "\n" not in payload["error"]
    assert "Traceback" in capfd.readouterr().err
    assert predict(lookup, {"instances": [[3, 0]]}) == (200, {"predictions": [[4, 1]]})


def test_an_output_that_json_cannot_carry_is_named(lookup):
    status, payload = predict(lookup, {"instances": [[0, 0], [0, 1]]})
    assert status == 400
    assert "'rows' of example 1" in payload["error"]


# --- Clients' mistakes ----------------------------------------------------------------------------

GOOD = np.zeros((4, 4, 1)).tolist()


def image_with(value):
    image = np.zeros((4, 4, 1)).tolist()
    image[2][3][0] = value
    return image


NOT_A_REQUEST = {
    "empty": (b"", "not JSON"),
    "broken": (b'{"instances": [1', "not JSON"),
    "not text": (b"\xff\xfe\xfd", "not JSON"),
    "trailing": (b'{"instances": [1]} x', "not JSON"),
    "too deep": (b'{"instances": ' + b"[" * 100_000, "not JSON"),
    "huge integer": (b'{"instances": [' + b"9" * 5000 + b"]}", "not JSON"),
    "a list": (b"[1, 2]", "got shape (2,); expected an object"),
    "a number": (b"3", "got 3; expected an object"),
    "no key": (b"{}", "got an empty object; expected either 'instances'"),
    "wrong key": (b'{"instance": [1]}', "got the keys 'instance'; expected either 'instances'"),
    "both keys": (b'{"instances": [1], "inputs": [1]}', "expected either 'instances'"),
    "signature": (b'{"signature_name": "x", "instances": [1]}', "expected 'serving_default'"),
    "signature number": (b'{"signature_name": 5, "instances": [1]}', "got 5"),
}


@pytest.mark.parametrize("case", NOT_A_REQUEST)
def test_what_is_not_a_request_is_refused(linear, case):
    body, part = NOT_A_REQUEST[case]
    status, payload = predict(linear, body)
    assert status == 400
    assert part in payload["error"]
    assert "\n" not in payload["error"]


WRONG_IMAGES = {
    "no instance": ([], "instances: got shape (0,)"),
    "not a list": (3, "instances: got 3; expected a list"),
    "null": (None, "instances: got null; expected a list"),
    "an object": ({"image": GOOD}, "instances: got an object; expected a list"),
    "small": ([GOOD, np.zeros((3, 4, 1)).tolist()], "instances[1]: got shape (3, 4, 1); expected"),
    "transposed": ([np.zeros((1, 4, 4)).tolist()], "got shape (1, 4, 4); expected shape (4, 4, 1)"),
    "without channel": ([np.zeros((4, 4)).tolist()], "instances[0]: got shape (4, 4); expected"),
    "too deep": (
        [np.zeros((4, 4, 1, 1)).tolist()],
        "instances[0]: got shape (4, 4, 1, 1); expected",
    ),
    "a single image": (GOOD, "instances[0]: got shape (4, 1)"),
    "scalars": ([1.0, 2.0], "instances[0]: got 1.0; expected shape (4, 4, 1) of float32"),
    "ragged": ([[*GOOD[:2], GOOD[0][:2], GOOD[0]]], "instances[0][2]: got shape (2, 1); expected"),
    "string": ([GOOD, image_with("1.0")], 'instances[1][2][3][0]: got "1.0"; expected a number'),
    "null value": ([image_with(None)], "instances[0][2][3][0]: got null; expected a number"),
    "true": ([image_with(True)], "instances[0][2][3][0]: got true; expected a number"),
    "NaN": ([image_with(float("nan"))], "instances[0][2][3][0]: got NaN; expected a number"),
    "Infinity": ([image_with(float("inf"))], "instances[0][2][3][0]: got Infinity; expected"),
    "-Infinity": ([image_with(float("-inf"))], "instances[0][2][3][0]: got -Infinity; expected"),
    "beyond float32": ([image_with(1e39)], "instances[0][2][3][0]: got 1e+39; expected a number"),
    "beyond float64": ([image_with(10**400)], "instances[0][2][3][0]: got 1000"),
    "value object": ([image_with({"b64": "aGk="})], "instances[0][2][3][0]: got an object"),
    "mixed": ([GOOD, {"image": GOOD}], "instances[1]: got an object; expected shape (4, 4, 1)"),
    "wrong name": ([{"picture": GOOD}], "instances[0]: got the keys 'picture'; expected an object"),
    "named then plain": ([{"image": GOOD}, GOOD], "instances[1]: got shape (4, 4, 1); expected an"),
}


@pytest.mark.parametrize("name", ["linear", "lite"])
@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_wrong_values_are_refused_and_found(name, case, request):
    instances, part = WRONG_IMAGES[case]
    server = request.getfixturevalue(name)
    status, payload = predict(server, {"instances": instances})
    assert status == 400
    assert part in payload["error"]
    assert predict(server, {"instances": [GOOD]}) == (200, {"predictions": [[0, 0, 0]]})


ROW = {"signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]}
WRONG_PAIRS = {
    "plain": ({"instances": [[1, 2]]}, "instances[0]: got shape (2,); expected an object with the"),
    "missing": ({"instances": [ROW, {"signal": [1]}]}, "instances[1]: got the keys 'signal'"),
    "unknown": ({"instances": [{**ROW, "tag": 1}]}, "'tag'; expected an object with the keys"),
    "row value": (
        {"instances": [ROW, {**ROW, "sensor": [[1, 2], [3, "4"]]}]},
        'instances[1].sensor[1][1]: got "4"',
    ),
    "plain columns": ({"inputs": [[1, 2]]}, "inputs: got shape (1, 2); expected an object"),
    "missing column": (
        {"inputs": {"signal": [[1] * 5]}},
        "inputs: got the keys 'signal'; expected",
    ),
    "column value": (
        {"inputs": {"signal": [[1] * 5], "sensor": [[[1, 2], [3]]]}},
        "inputs.sensor[0][1]: got shape (1,); expected shape (2,) of float32",
    ),
    "column scalar": (
        {"inputs": {"signal": 1, "sensor": [[[1, 2], [3, 4]]]}},
        "inputs.signal: got",
    ),
    "batches differ": (
        {"inputs": {"signal": [[1] * 5] * 2, "sensor": [[[1, 2], [3, 4]]]}},
        "got 2 of 'signal', 1 of 'sensor'; expected the same number",
    ),
}


@pytest.mark.parametrize("case", WRONG_PAIRS)
def test_wrong_named_tensors_are_refused(pair, case):
    body, part = WRONG_PAIRS[case]
    status, payload = predict(pair, body)
    assert status == 400
    assert part in payload["error"]


@pytest.mark.parametrize("value", [1.0, -1, 256, 1e3, True, "1", 10**400])
def test_integers_are_not_rounded_nor_wrapped(lookup, value):
    status, payload = predict(lookup, {"instances": [[0, 0], [0, value]]})
    assert status == 400
    assert payload["error"].startswith("instances[1][1]: got ")
    assert "expected an integer from 0 to 255 (uint8)" in payload["error"]


def test_mutated_requests_never_end_in_a_500(pair):
    """Bytes are dropped, doubled and replaced; whatever is still a request is answered."""
    random = np.random.RandomState(3)
    body = json.dumps({"instances": [ROW, ROW]}).encode()
    seen = set()
    for _ in range(300):
        mutant = bytearray(body)
        for at in random.randint(len(body) - 4, size=random.randint(1, 4)):
            parts = [b"", mutant[at : at + 1] * 2, b"[", b"]", b"-", b'"', b"9", b"e"]
            mutant[at : at + 1] = parts[random.randint(len(parts))]
        status, payload = predict(pair, bytes(mutant))
        assert (status, list(payload)) in [(200, ["predictions"]), (400, ["error"])]
        seen.add(status)
    assert seen == {200, 400}


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/models", "/v1/models/linear:classify", "//["])
def test_an_unknown_path_lists_the_routes(linear, path):
    root = linear.url.removesuffix("/v1/models/linear")
    status, payload = call(root + path)
    assert status == 404
    for route in ("GET /healthz", "GET /v1/models/linear/metadata", "/v1/models/linear:predict"):
        assert route in payload["error"]


def test_an_unknown_version_is_refused(linear):
    status, payload = call(f"{linear.url}/versions/2:predict", {"instances": [GOOD]})
    assert (status, payload) == (404, {"error": "version: got '2'; expected '1'."})


def test_health(linear):
    assert call(linear.url.removesuffix("/v1/models/linear") + "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("method", "action", "allowed"),
    [
        ("GET", ":predict", "POST"),
        ("PUT", ":predict", "POST"),
        ("POST", "", "GET"),
        ("DELETE", "", "GET"),
        ("POST", "/metadata", "GET"),
    ],
)
def test_a_wrong_method_names_the_right_one(linear, method, action, allowed):
    connection = connect(linear)
    connection.request(method, model_path(linear) + action, body=b"{}")
    response = connection.getresponse()
    assert response.status == 405
    assert response.headers["Allow"] == allowed
    assert json.load(response) == {"error": f"method: got {method}; expected {allowed}."}
    connection.close()


def test_one_connection_serves_on_after_mistakes(linear):
    connection = connect(linear)
    connection.connect()
    first = connection.sock
    path = model_path(linear)
    for method, action, body, status in [
        ("POST", ":predict", b'{"instances": [1]}', 400),
        ("GET", "/nowhere", b"a body that nobody asked for", 404),
        ("HEAD", "", None, 200),
        ("POST", ":predict", json.dumps({"instances": [GOOD]}), 200),
    ]:
        connection.request(method, path + action, body)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is first
    connection.close()


def dial(server):
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def raw(server, sent):
    """Sends bytes, and no more; returns status and payload of the only answer."""
    with dial(server) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        head, _, payload = client.makefile("rb").read().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(payload or "null")


def test_a_head_has_no_body(linear):
    assert raw(linear, f"HEAD {model_path(linear)} HTTP/1.1\r\n\r\n".encode()) == (200, None)


def test_a_path_may_be_quoted_and_have_a_query(linear):
    url = linear.url.replace("linear", "%6Cinear")
    assert call(f"{url}%3Apredict?", {"instances": [GOOD]})[0] == 200
    path = f"GET {model_path(linear)}?verbose=1 HTTP/1.1\r\n\r\n"
    assert raw(linear, path.encode())[0] == 200


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ("", 411, "Content-Length: missing"),
        ("Transfer-Encoding: chunked\r\n", 411, "Content-Length: missing"),
        ("Content-Length: ten\r\n", 400, "Content-Length: got 'ten'"),
        ("Content-Length: -1\r\n", 400, "Content-Length: got '-1'"),
        ("Content-Length: " + "9" * 5000 + "\r\n", 400, "Content-Length: got '999"),
        ("Content-Length: 2\r\n", 400, "body: got 0 bytes; expected 2"),
        ("Content-Length: 99999999999\r\n", 413, "got 99999999999 bytes; expected 67108864"),
    ],
)
def test_a_body_of_unknown_or_excessive_length_is_refused(linear, headers, status, part):
    head = f"POST {model_path(linear)}:predict HTTP/1.1\r\nHost: x\r\n{headers}\r\n"
    got, payload = raw(linear, head.encode())
    assert got == status
    assert part in payload["error"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"BREW / HTTP/1.1\r\n\r\n", 501),
    ],
)
def test_broken_http_gets_an_answer_in_json(linear, sent, status):
    got, payload = raw(linear, sent)
    assert got == status
    assert payload["error"].startswith("HTTP: ")


def test_a_large_body_is_refused_while_it_is_sent(folder):
    with Server(folder / "linear", port=0, max_body_bytes=1000) as server:
        status, payload = predict(server, b"0" * 20_000_000)
        assert status == 413
        assert payload == {"error": "body: got 20000000 bytes; expected 1000 at most."}
        body = json.dumps({"instances": [GOOD]})
        assert predict(server, body.ljust(1000).encode())[0] == 200
        assert predict(server, body.ljust(1001).encode())[0] == 413


def test_a_client_that_leaves_does_no_harm(folder, capfd):
    abruptly = struct.pack("ii", 1, 0)  # linger for no time: closing resets the connection
    with Server(folder / "linear", port=0) as server:
        head = f"POST {model_path(server)}:predict HTTP/1.1\r\nContent-Length: 100\r\n\r\n".encode()
        for sent in (b"", b"POST", head, head + b"{"):
            with dial(server) as client:
                client.sendall(sent)
            with dial(server) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abruptly)
                client.sendall(sent)
        assert predict(server, {"instances": [GOOD]})[0] == 200
    assert "Traceback" not in capfd.readouterr().err


# --- Starting and stopping ------------------------------------------------------------------------


def test_a_taken_port_is_one_line(linear, folder):
    port = urlsplit(linear.url).port
    with pytest.raises(
        OSError, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use"
    ):
        Server(folder / "linear", port=port)


def test_begun_requests_finish_and_idle_connections_close(folder):
    server = Server(folder / "linear", port=0)
    begun = threading.Event()

    def run():
        with server:
            begun.wait(30)

    running = threading.Thread(target=run)
    running.start()
    idle, busy = connect(server), connect(server)
    idle.request("GET", model_path(server))
    idle.getresponse().read()
    body = json.dumps({"instances": [GOOD]}).encode()
    busy.putrequest("POST", f"{model_path(server)}:predict")
    busy.putheader("Content-Length", str(len(body)))
    busy.putheader("Expect", "100-continue")
    busy.endheaders()
    assert busy.sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    begun.set()
    assert idle.sock.recv(1) == b""
    running.join(0.3)
    assert running.is_alive()
    busy.send(body)
    response = busy.getresponse()
    assert response.status == 200
    assert response.headers["Connection"] == "close"
    assert json.load(response) == {"predictions": [[0, 0, 0]]}
    running.join(10)
    assert not running.is_alive()
    with pytest.raises(ConnectionRefusedError):
        connect(server).connect()


SERVE = """
import sys
from serving import serve
serve(sys.argv[1], port=0)
print([name for name in ("tensorflow", "keras") if name in sys.modules])
"""


@pytest.mark.parametrize(("name", "runtime"), [("linear", "ONNX Runtime"), ("lite", "LiteRT")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_process_that_never_loaded_tensorflow(
    name, runtime, number, request, folder
):
    request.getfixturevalue(name)  # writes the directory
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith(f"{name}: {runtime} ")
        url = line.split()[-1]
        kept = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        kept.request("GET", urlsplit(url).path)
        kept.getresponse().read()  # stays open, and must not hold the process up
        assert call(f"{url}:predict", {"instances": [GOOD]}) == (200, {"predictions": [[0, 0, 0]]})
        asked = time.monotonic()
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - asked < 5
        assert (process.returncode, out) == (0, "[]\n")
        assert "Traceback" not in err
        kept.close()
    finally:
        process.kill()
        process.communicate()


# --- What is not served ---------------------------------------------------------------------------


def refused(directory, part, kind=ValueError, **settings):
    with pytest.raises(kind) as caught:
        Server(directory, port=0, **settings)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_refused(tmp_path):
    directory = write_linear(tmp_path / "changed")
    with (directory / "model.onnx").open("ab") as file:
        file.write(b"\0")
    refused(directory, "The file changed after the export")


def test_missing_files_are_refused(tmp_path):
    refused(tmp_path, "manifest.json: not found", FileNotFoundError)
    directory = write_linear(tmp_path / "gone")
    (directory / "model.onnx").unlink()
    refused(directory, "model.onnx: not found", FileNotFoundError)


@pytest.mark.parametrize("text", ["", "{}", '{"name": 3}', "\x00"])
def test_a_broken_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    refused(tmp_path, "manifest.json is not valid: ")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"target": "saved_model"}, "TF Serving reads a SavedModel as it is"),
        ({"target": "coreml"}, "expected tflite, tflite-int8, onnx. Export to one of these."),
        ({"target": "tflite"}, "does not run as the manifest says"),
        ({"parity": PARITY.model_copy(update={"passed": False})}, "failed its parity check"),
        ({"name": "a/b"}, "expected one without '/' and ':'"),
    ],
)
def test_a_manifest_that_cannot_be_served_is_refused(tmp_path, changes, part):
    refused(write_linear(tmp_path / "model", **changes), part)


IMAGE, LOGITS = spec("image", (None, 4, 4, 1)), spec("logits", (None, 3))


@pytest.mark.parametrize(
    ("taken", "given", "part"),
    [
        (IMAGE, spec("logits", (None, 4)), "got float32 of shape (2, 3)"),
        (IMAGE, spec("logits", (None,)), "got float32 of shape (2, 3)"),
        (IMAGE, spec("logits", (None, 3), "int8"), "expected int8"),
        (IMAGE, spec("scores", (None, 3)), "scores"),
        (spec("picture", (None, 4, 4, 1)), LOGITS, "picture"),
        (spec("image", (None, 4, 4, 2)), LOGITS, "Got: 2 Expected: 1"),
        (spec("image", (None, None, 4, 1)), LOGITS, "the first dimension alone may vary"),
        (spec("image", (None, 4, 4, 1), "string"), LOGITS, "expected numbers or booleans"),
        (spec("image", ()), LOGITS, "the first dimension alone may vary"),
    ],
)
def test_a_signature_that_is_not_the_file_s_is_refused(tmp_path, taken, given, part):
    signature = Signature(inputs=(taken,), outputs=(given,))
    refused(write_linear(tmp_path / "model", signature=signature), part)


def test_an_onnx_file_with_a_fixed_batch_is_refused(tmp_path):
    refused(write_linear(tmp_path / "fixed", batch=1), "does not run as the manifest says")


@pytest.mark.parametrize(
    ("taken", "part"),
    [
        (spec("image", (1, 2, 8, 1)), "got shape (1, 4, 4, 1); expected (1, 2, 8, 1)"),
        (spec("picture", (1, 4, 4, 1)), "got tensors named ['image']; expected ['picture']"),
        (spec("image", (1, 4, 4, 1), "int32"), "INT32"),
    ],
)
def test_a_tflite_file_that_is_not_the_manifest_s_is_refused(lite, folder, tmp_path, taken, part):
    shutil.copy(folder / "lite" / "model.tflite", tmp_path)
    write_manifest(tmp_path, target="tflite", file="model.tflite", inputs=[taken], outputs=[LOGITS])
    refused(tmp_path, part)


@pytest.mark.parametrize(
    "settings", [{"port": 65536}, {"port": -1}, {"num_threads": 0}, {"max_body_bytes": 0}]
)
def test_settings_out_of_range_are_refused(linear, folder, settings):
    (key,) = settings
    with pytest.raises(ValueError, match=rf"^Server\.{key}: got {settings[key]}; expected"):
        Server(folder / "linear", **{"port": 0, **settings})


def test_the_command_reports_misuse_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["serving", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "manifest.json: not found" in capsys.readouterr().err
