"""The Open Inference Protocol's binary tensors: bytes by hand, and of Triton's own client."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from tests.serving.kit import IMAGES, WEIGHTS, call, connect

HEADER = "Inference-Header-Content-Length"
LOGITS = IMAGES.reshape(5, 16) @ WEIGHTS


def infer(server, body, length=None, name=None):
    """Returns status, the header of the answer, and its body."""
    connection = connect(server)
    headers = {} if length is None else {HEADER: str(length)}
    connection.request("POST", f"/v2/models/{name or server.name}/infer", body, headers)
    reply = connection.getresponse()
    found = reply.status, reply.getheader(HEADER), reply.read()
    connection.close()
    return found


def asked(*arrays, names=("image",), **more):
    """A request of binary inputs, and the bytes of its JSON."""
    inputs, tail = [], b""
    for name, array in zip(names, arrays, strict=True):
        size = {"binary_data_size": array.nbytes}
        inputs.append({"name": name, "shape": list(array.shape), "datatype": "FP32",
                       "parameters": size})  # fmt: skip
        tail += b"".join(struct.pack("<f", value) for value in array.ravel())
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + tail, len(head)


def read(length, body):
    """The outputs of a binary answer, by name."""
    head, tail, found = json.loads(body[: int(length)]), body[int(length) :], {}
    for one in head["outputs"]:
        if "data" in one:
            found[one["name"]] = np.reshape(one["data"], one["shape"])
            continue
        size = one["parameters"]["binary_data_size"]
        assert "data" not in one and size == 4 * np.prod(one["shape"])
        values = struct.unpack(f"<{size // 4}f", tail[:size])
        found[one["name"]], tail = np.reshape(values, one["shape"]), tail[size:]
    assert not tail
    return found


EVERY = {"parameters": {"binary_data_output": True}}


def test_bytes_in_and_bytes_out(linear):
    assert call(f"{linear.root}/v2")[1]["extensions"] == ["binary_tensor_data"]
    status, length, body = infer(linear, *asked(IMAGES, **EVERY))
    assert status == 200
    np.testing.assert_allclose(read(length, body)["logits"], LOGITS, rtol=1e-4, atol=1e-5)


def test_either_way_may_be_json(linear):
    status, length, body = infer(linear, *asked(IMAGES))
    assert status == 200 and length is None
    (output,) = json.loads(body)["outputs"]
    np.testing.assert_allclose(np.reshape(output["data"], (5, 3)), LOGITS, rtol=1e-4, atol=1e-5)
    plain = {"inputs": [{"name": "image", "shape": [5, 4, 4, 1], "datatype": "FP32",
                         "data": IMAGES.ravel().tolist()}]}  # fmt: skip
    status, length, body = infer(linear, json.dumps(plain | EVERY))
    np.testing.assert_allclose(read(length, body)["logits"], LOGITS, rtol=1e-4, atol=1e-5)


def test_several_tensors_keep_their_order(pair):
    sensor, signal = np.float32([[[1, 2], [3, 4]]]), np.float32([[1, 2, 3, 4, 5]])
    outputs = [{"name": "total", "parameters": {"binary_data": True}}, {"name": "double"}]
    body = asked(sensor, signal, names=("sensor", "signal"), outputs=outputs)
    found = read(*infer(pair, *body)[1:])
    assert found["total"].tolist() == [10] and found["double"].tolist() == [[2, 4, 6, 8, 10]]
    for one in outputs:
        one["parameters"] = {"binary_data": True}
    found = read(
        *infer(pair, *asked(sensor, signal, names=("sensor", "signal"), outputs=outputs))[1:]
    )
    assert found["total"].tolist() == [10] and found["double"].tolist() == [[2, 4, 6, 8, 10]]


def test_nan_comes_and_goes_as_bytes_alone(linear):
    bad = IMAGES.copy()
    bad[2, 0, 0, 0] = np.nan
    status, length, body = infer(linear, *asked(bad, **EVERY))
    found = read(length, body)["logits"]
    assert status == 200 and np.isnan(found[2]).all() and np.isfinite(found[[0, 1, 3, 4]]).all()
    status, _, body = infer(linear, *asked(bad))
    assert status == 400 and b"not finite, which JSON cannot carry" in body


def changed(**changes):
    (body, length), size = asked(IMAGES), IMAGES.nbytes
    head = json.loads(body[:length])
    head["inputs"][0] |= changes
    head = json.dumps(head).encode()
    return head + body[-size:], len(head)


WRONG = {
    "no number": (lambda: (asked(IMAGES)[0], "x"), "Inference-Header-Content-Length: got 'x'"),
    "beyond the body": (lambda: (asked(IMAGES)[0], 10**6), "expected the bytes of the JSON"),
    "a huge number": (lambda: (asked(IMAGES)[0], "9" * 30), "expected the bytes of the JSON"),
    "too short a JSON": (lambda: (asked(IMAGES)[0], 7), "request: not JSON"),
    "nothing told": (lambda: (asked(IMAGES)[0], None), "request: not JSON"),
    "more bytes": (lambda: (asked(IMAGES)[0] + b"x", asked(IMAGES)[1]), "got 321 bytes behind the"),
    "fewer bytes": (lambda: (asked(IMAGES)[0][:-1], asked(IMAGES)[1]), "body has 319 bytes"),
    "another size": (lambda: changed(shape=[4, 4, 4, 1]), "got 320 bytes; expected 256"),
    "a huge shape": (lambda: changed(shape=[2**30, 4, 4, 1]), "got 320 bytes; expected 687194"),
    "below nothing": (
        lambda: changed(parameters={"binary_data_size": -1}),
        "expected a number of bytes",
    ),
    "no size": (
        lambda: changed(parameters={"binary_data_size": "320"}),
        "expected a number of bytes",
    ),
    "both": (lambda: changed(data=[1.0]), "got data and binary_data_size; expected one"),
    "a type": (lambda: changed(datatype="BYTES"), "inputs.image.datatype: got \"BYTES\""),
    "no boolean": (
        lambda: asked(IMAGES, parameters={"binary_data_output": 1}),
        "parameters.binary_data_output: got 1; expected true or false",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_refused(linear, case):
    make, part = WRONG[case]
    body, length = make()
    status, _, told = infer(linear, body, length)
    assert status == 400 and part in json.loads(told)["error"]


def test_booleans_are_0_and_1():
    from serving.wire.binary_tensors import read as array_of

    assert array_of(memoryview(b"\0\1"), "bool", [2], "x").tolist() == [False, True]
    with pytest.raises(ValueError, match="expected bytes of 0 and 1"):
        array_of(memoryview(b"\0\2"), "bool", [2], "x")


@pytest.mark.oracle
def test_triton_s_own_client_is_answered(linear):
    client = pytest.importorskip("tritonclient.http")
    given = client.InferInput("image", [5, 4, 4, 1], "FP32")
    given.set_data_from_numpy(IMAGES)
    with client.InferenceServerClient(linear.root.removeprefix("http://")) as triton:
        assert triton.is_model_ready("linear")
        assert triton.get_model_metadata("linear")["inputs"][0]["shape"] == [-1, 4, 4, 1]
        wanted = [client.InferRequestedOutput("logits")]
        for outputs in (None, wanted):
            found = triton.infer("linear", [given], outputs=outputs, request_id="7")
            np.testing.assert_allclose(found.as_numpy("logits"), LOGITS, rtol=1e-4, atol=1e-5)
            assert found.get_response()["id"] == "7"
