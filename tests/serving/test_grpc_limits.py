"""gRPC has the limits of REST: who may ask, how much, and for how long."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from serving import Server
from serving.wire.messages import PredictRequest, PredictResponse
from serving.wire.tensors import to_array, to_proto
from tests.serving.kit import IMAGES, WEIGHTS, predict
from tests.serving.test_limits import answer, dial, head

PREDICT = "/tensorflow.serving.PredictionService/Predict"
SIZE = 2**20


def asked(name="linear", array=IMAGES, version=None):
    made = PredictRequest()
    made.model_spec.name = name
    if version is not None:
        made.model_spec.version.value = version
    made.inputs["image"].CopyFrom(to_proto(array))
    return made


def connected(server):
    return grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")


def predict_by(channel, request, seconds=10):
    call = channel.unary_unary(PREDICT, response_deserializer=PredictResponse.FromString)
    return call(request.SerializeToString(), timeout=seconds)


def refused(call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value.code().name, caught.value.details()


@pytest.fixture(scope="module")
def strict(folder, linear, tmp_path_factory):
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("secret")
    settings = {"body_seconds": 0.5, "idle_seconds": 1, "max_body_bytes": SIZE,
                "max_bodies_bytes": SIZE + 2000}  # fmt: skip
    with (
        Server(folder / "linear", port=0, grpc_port=0, **settings) as server,
        Server(folder / "linear", port=0, grpc_port=0, token_file=token) as locked,
    ):
        server.locked = locked
        yield server


def filled(rows):
    """One value that stands for all."""
    given = asked()
    tensor = given.inputs["image"]
    tensor.Clear()
    tensor.dtype = 1
    tensor.float_val.append(0.5)
    for size in (rows, 4, 4, 1):
        tensor.tensor_shape.dim.add(size=size)
    return given


def test_a_shape_of_many_axes_is_refused_at_once(strict):
    given = asked()
    for _ in range(60_000):
        given.inputs["image"].tensor_shape.dim.add(size=2**62)
    with connected(strict) as channel:
        start = time.monotonic()
        code, told = refused(predict_by, channel, given)
        assert time.monotonic() - start < 3
    assert code == "INVALID_ARGUMENT" and len(told) < 200
    assert "tensor_shape: got 60004 axes; expected 32 at most" in told


def test_arrays_share_the_room_of_bodies(strict):
    """A message of some bytes that stands for 1 MiB, while one of REST holds most of the room."""
    rows = SIZE // 64
    with connected(strict) as channel:
        reply = predict_by(channel, filled(rows))
        found = to_array(reply.outputs["logits"], most_bytes=SIZE)
        np.testing.assert_allclose(found, np.full((rows, 16), 0.5) @ WEIGHTS, atol=1e-5)
        assert refused(predict_by, channel, filled(rows + 1))[0] == "INVALID_ARGUMENT"
        with dial(strict) as slow:
            slow.sendall(head(strict, SIZE // 2))
            time.sleep(0.1)
            code, told = refused(predict_by, channel, filled(rows))
            assert (code, told) == ("UNAVAILABLE", "inputs: no room for it now; try again.")
            assert predict_by(channel, filled(5)).outputs
            assert answer(slow)[0] == 408
        assert predict_by(channel, filled(rows)).outputs
        assert strict._admission._taken == 0


def silent(channel, seconds=10):
    """A call whose message never comes."""
    done = threading.Event()

    def nothing():
        done.wait(seconds)
        yield from ()

    try:
        return refused(channel.stream_unary(PREDICT), nothing(), seconds)
    finally:
        done.set()


def test_a_message_that_does_not_come_is_not_waited_for(strict):
    with connected(strict) as channel:
        assert silent(channel) == ("DEADLINE_EXCEEDED", "message: expected all of it in 0.5 s.")
        assert predict_by(channel, asked()).outputs


def test_the_token_is_asked_for_before_the_message(strict):
    with connected(strict.locked) as channel:
        code, told = silent(channel)
        assert code == "UNAUTHENTICATED" and "secret" not in told


def test_numbers_that_are_none_are_answered_as_the_model_does(strict):
    """As by TF Serving; JSON has none."""
    bad = IMAGES.copy()
    for value in (np.nan, np.inf):
        bad[2, 1, 1, 0] = value
        with connected(strict) as channel:
            reply = predict_by(channel, asked(array=bad))
        found = to_array(reply.outputs["logits"], most_bytes=1000)
        assert [bool(row.all()) for row in np.isfinite(found)] == [True, True, False, True, True]


def test_no_example_is_no_request(strict):
    with connected(strict) as channel:
        code, told = refused(predict_by, channel, asked(array=IMAGES[:0]))
    assert code == "INVALID_ARGUMENT" and "expected float32 of shape (one or more, 4, 4, 1)" in told


def test_version_0_is_the_latest_and_others_are_absent(strict):
    with connected(strict) as channel:
        assert predict_by(channel, asked(version=0)).model_spec.version.value == 1
        code, told = refused(predict_by, channel, asked(version=7))
        assert (code, told) == ("NOT_FOUND", "version: got 7; this server has 1.")


def test_a_large_message_is_read_beside_the_loop(folder, linear):
    many = np.random.RandomState(0).randn(20_000, 4, 4, 1).astype("float32")
    with Server(folder / "linear", port=0, grpc_port=0) as server, connected(server) as channel:
        reply = predict_by(channel, asked(array=many))
    found = to_array(reply.outputs["logits"], most_bytes=SIZE)
    np.testing.assert_allclose(found, many.reshape(-1, 16) @ WEIGHTS, atol=1e-4)


def test_an_idle_connection_is_closed(strict):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    with socket.create_connection(("127.0.0.1", strict.grpc_port), timeout=15) as client:
        client.sendall(preface)
        while client.recv(1000):
            pass


def test_a_line_is_written_of_each_call(strict, caplog):
    caplog.set_level(logging.INFO, logger="serving")
    with connected(strict) as channel:
        predict_by(channel, asked())
        refused(predict_by, channel, asked("nothing"))
    end = time.monotonic() + 5
    while len(caplog.records) < 2 and time.monotonic() < end:
        time.sleep(0.01)  # they are written behind the answer
    first, second = [json.loads(record.getMessage()) for record in caplog.records]
    assert (first["method"], first["path"], first["status"]) == ("gRPC", "Predict", "OK")
    assert first["model"] == "linear" and first["bytes"] > 320
    assert second["status"] == "NOT_FOUND"
    assert predict(strict, {"instances": IMAGES.tolist()})[0] == 200
