"""The server answers as the runtimes do, to many clients at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from serving import Server
from serving.engines import open_deployable
from serving.models import versions
from tests.serving.kit import (
    GOOD,
    IMAGES,
    WEIGHTS,
    call,
    connect,
    model_path,
    predict,
    write_linear,
)


def test_onnx_answers_as_onnx_runtime(linear, folder):
    session = onnxruntime.InferenceSession(folder / "linear" / "model.onnx")
    (expected,) = session.run(None, {"image": IMAGES})
    status, payload = predict(linear, {"instances": IMAGES.tolist()})
    assert status == 200
    np.testing.assert_array_equal(np.float32(payload["predictions"]), expected)
    np.testing.assert_allclose(expected, IMAGES.reshape(5, 16) @ WEIGHTS, rtol=1e-4, atol=1e-5)


def test_an_onnx_file_of_one_example_runs_once_for_each(tmp_path):
    _, engine = open_deployable(write_linear(tmp_path / "one", batch=1), num_threads=1)
    got = engine.predict({"image": IMAGES})["logits"]
    np.testing.assert_allclose(got, IMAGES.reshape(5, 16) @ WEIGHTS, rtol=1e-4, atol=1e-5)


def runner_of(folder, name):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / name / "model.tflite"))
    return interpreter.get_signature_runner("serving_default")


def test_lines_of_any_length_are_answered_as_keras_does(tmp_path):
    import keras

    import export

    line = keras.Input((None, 4), name="line")
    steps = keras.layers.Conv1D(8, 3, activation="relu")(line)  # takes three steps at least
    model = keras.Model(line, keras.layers.Dense(2, name="score")(keras.layers.GRU(5)(steps)))
    samples = np.random.RandomState(0).randn(8, 6, 4).astype("float32")
    export.export(model, "onnx", tmp_path / "lines", samples=samples)
    with Server(tmp_path / "lines", port=0) as server:
        for length in (3, 11):
            given = np.random.RandomState(length).randn(2, length, 4).astype("float32")
            status, payload = predict(server, {"inputs": {"line": given.tolist()}})
            assert status == 200
            np.testing.assert_allclose(payload["outputs"], model(given), atol=1e-5)


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


def test_an_int8_file_takes_no_nan(lite_int8, folder):
    _, engine = open_deployable(folder / "lite_int8", num_threads=1)
    with pytest.raises(ValueError, match="got NaN; expected numbers, as the file holds int8"):
        engine.predict({"image": np.full((1, 4, 4, 1), np.nan, "float32")})
    engine.predict({"image": np.full((1, 4, 4, 1), np.inf, "float32")})  # the end of the range


@pytest.mark.parametrize("name", ["linear", "lite"])
def test_eight_clients_get_their_own_answers(name, request, folder, monkeypatch):
    request.getfixturevalue(name)
    monkeypatch.setattr(versions, "QUICK_SECONDS", 0)
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

    with Server(folder / name, port=0) as server, ThreadPoolExecutor(8) as pool:
        got = list(pool.map(client, range(8)))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_a_value_that_the_runtime_refuses_is_the_client_s_mistake(lookup):
    status, payload = predict(lookup, {"instances": [[3, 4]]})
    assert status == 400
    assert payload["error"].startswith("ONNX Runtime")
    assert "\n" not in payload["error"]
    assert predict(lookup, {"instances": [[3, 0]]}) == (200, {"predictions": [[4, 1]]})


def test_an_output_that_json_cannot_carry_is_named(lookup):
    status, payload = predict(lookup, {"instances": [[0, 0], [0, 1]]})
    assert status == 400
    assert "'rows' of example 1" in payload["error"]


def test_a_failing_runtime_is_a_500_and_the_server_lives(folder, linear, monkeypatch, caplog):
    with Server(folder / "linear", port=0) as server:
        engine = server._repository.pick("linear").engine

        def fail(*_):
            raise RuntimeError("out\nof memory")

        with monkeypatch.context() as broken:
            broken.setattr(engine, "_run", fail)
            status, payload = predict(server, {"instances": [GOOD]})
        assert status == 500
        assert payload["error"].endswith(": RuntimeError: out of memory")
        assert "linear version 1: RuntimeError: out of memory" in caplog.text
        assert predict(server, {"instances": [GOOD]})[0] == 200
