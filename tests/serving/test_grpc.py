"""gRPC, asked by TF Serving's own client classes, which this server does not import."""

from __future__ import annotations

import subprocess
import sys

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor

from serving import Server
from serving.wire.dtypes import DTYPES
from serving.wire.messages import MESSAGES, message
from serving.wire.tensors import to_array, to_proto
from tests.serving.kit import IMAGES, WEIGHTS

tf = pytest.importorskip("tensorflow")
apis = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@pytest.fixture(scope="module")
def served(folder, linear, pair, lookup, lite):
    names = ("linear", "pair", "lookup", "lite")
    with Server(*(folder / name for name in names), port=0, grpc_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def channel(served):
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def client(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(name, _signature="", _version=None, **inputs):
    made = predict_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = name, _signature
    if _version is not None:
        made.model_spec.version.value = _version
    for key, value in inputs.items():
        made.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return made


def refused(code, part, call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code
    assert part in caught.value.details() and "\n" not in caught.value.details()


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_those_that_tensorflow_publishes(name):
    """Every number and type, against the descriptors of the installed packages."""
    from google.protobuf import descriptor_pool

    published = "tensorflow.TensorShapeProto.Dim" if name == "tensorflow.Dim" else name
    official = descriptor_pool.Default().FindMessageTypeByName(published)
    for field in message(name).DESCRIPTOR.fields:
        theirs = official.fields_by_name[field.name]
        assert theirs.number == field.number
        assert theirs.is_repeated == field.is_repeated
        enumerated = theirs.type == descriptor.FieldDescriptor.TYPE_ENUM
        assert field.type == (descriptor.FieldDescriptor.TYPE_INT32 if enumerated else theirs.type)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_go_there_and_back(dtype):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    ours = to_proto(array)
    theirs = tf.make_ndarray(tf.make_tensor_proto(0).FromString(ours.SerializeToString()))
    np.testing.assert_array_equal(theirs, array)
    assert theirs.dtype == array.dtype
    listed = tf.make_tensor_proto(array.tolist(), dtype=dtype)  # values in their field
    for proto in (tf.make_tensor_proto(array), listed):
        found = to_array(ours.FromString(proto.SerializeToString()), most_bytes=1000)
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    one = True if dtype == "bool" else 1
    filled = tf.make_tensor_proto(one, dtype=dtype, shape=(2, 3))
    found = to_array(ours.FromString(filled.SerializeToString()), most_bytes=1000)
    np.testing.assert_array_equal(found, np.ones((2, 3), dtype))


@pytest.mark.parametrize("name", ["linear", "lite"])
def test_predict(client, name):
    reply = client.Predict(request(name, image=IMAGES), 10)
    found = tf.make_ndarray(reply.outputs["logits"])
    np.testing.assert_allclose(found, IMAGES.reshape(5, 16) @ WEIGHTS, atol=1e-5)
    assert (reply.model_spec.name, reply.model_spec.version.value) == (name, 1)


def test_several_tensors_and_chosen_outputs(client):
    given = request("pair", "serving_default", 1, signal=np.ones((2, 5), "float32"),
                    sensor=np.ones((2, 2, 2), "float32"))  # fmt: skip
    assert set(client.Predict(given, 10).outputs) == {"double", "total"}
    given.output_filter.append("total")
    reply = client.Predict(given, 10)
    assert set(reply.outputs) == {"total"}
    np.testing.assert_array_equal(tf.make_ndarray(reply.outputs["total"]), [4, 4])
    given.output_filter.append("x")
    refused(grpc.StatusCode.INVALID_ARGUMENT, "output_filter: got 'x'",
            lambda: client.Predict(given, 10))  # fmt: skip


WRONG = {
    "a name": (request("nothing", image=IMAGES), "NOT_FOUND", "model: got 'nothing'"),
    "a version": (request("linear", "", 7, image=IMAGES), "NOT_FOUND", "version: got 7"),
    "a signature": (request("linear", "x", image=IMAGES), "INVALID_ARGUMENT", "signature_name"),
    "no inputs": (request("linear"), "INVALID_ARGUMENT", "inputs: got none; expected 'image'"),
    "an input": (request("linear", x=IMAGES), "INVALID_ARGUMENT", "inputs: got 'x'"),
    "a shape": (
        request("linear", image=IMAGES[0]),
        "INVALID_ARGUMENT",
        "got float32 of shape (4, 4, 1); expected float32 of shape (one or more, 4, 4, 1)",
    ),
    "no examples": (request("linear", image=IMAGES[:0]), "INVALID_ARGUMENT", "inputs.image: got"),
    "a type": (
        request("linear", image=IMAGES.astype("float64")),
        "INVALID_ARGUMENT",
        "got float64 of shape",
    ),
    "text": (request("linear", image=np.array(["a"])), "INVALID_ARGUMENT", "inputs.image.dtype"),
    "an index": (
        request("lookup", ids=np.array([[3, 4]], "uint8")),
        "INVALID_ARGUMENT",
        "ONNX Runtime",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_have_tf_serving_s_codes(client, case):
    given, code, part = WRONG[case]
    refused(getattr(grpc.StatusCode, code), part, lambda: client.Predict(given, 10))


def test_a_shape_that_lies_is_refused(client):
    for sizes in ([2**31, 4, 4, 1], [-1, 4, 4, 1], [2, 4, 4, 1]):
        given = request("linear", image=IMAGES[:1])
        del given.inputs["image"].tensor_shape.dim[:]
        for size in sizes:
            given.inputs["image"].tensor_shape.dim.add(size=size)
        part = "tensor_content" if sizes[0] == 2 else "tensor_shape"
        refused(grpc.StatusCode.INVALID_ARGUMENT, f"inputs.image.{part}",
                lambda given=given: client.Predict(given, 10))  # fmt: skip


def test_metadata(client):
    asked = get_model_metadata_pb2.GetModelMetadataRequest()
    asked.model_spec.name = "pair"
    refused(grpc.StatusCode.INVALID_ARGUMENT, "metadata_field",
            lambda: client.GetModelMetadata(asked, 10))  # fmt: skip
    asked.metadata_field.append("signature_def")
    reply = client.GetModelMetadata(asked, 10)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert set(signature.inputs) == {"signal", "sensor"} and set(signature.outputs) == {
        "double", "total",
    }  # fmt: skip
    sensor = signature.inputs["sensor"]
    assert sensor.dtype == tf.float32.as_datatype_enum
    assert [dim.size for dim in sensor.tensor_shape.dim] == [-1, 2, 2]


def test_status(channel):
    service = model_service_pb2_grpc.ModelServiceStub(channel)
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "linear"
    (row,) = service.GetModelStatus(asked, 10).model_version_status
    assert (row.version, row.state, row.status.error_code) == (1, row.AVAILABLE, 0)
    asked.model_spec.name = "nothing"
    refused(grpc.StatusCode.NOT_FOUND, "model: got 'nothing'",
            lambda: service.GetModelStatus(asked, 10))  # fmt: skip


def test_bytes_that_are_no_message(channel, client):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    random, good = np.random.RandomState(0), request("linear", image=IMAGES).SerializeToString()
    seen = set()
    for _ in range(500):
        mutant = bytearray(good)
        for place in random.randint(len(good), size=random.randint(1, 6)):
            mutant[place : place + random.randint(2)] = random.bytes(random.randint(3))
        try:
            call(bytes(mutant), 10)
            seen.add("OK")
        except grpc.RpcError as error:
            seen.add(error.code().name)
    assert seen <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} and len(seen) > 1
    assert client.Predict(request("linear", image=IMAGES), 10).outputs


def test_a_token_and_a_taken_port(folder, linear, tmp_path, served):
    file = tmp_path / "token"
    file.write_text("secret")
    with (
        Server(folder / "linear", port=0, grpc_port=0, token_file=file) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        given = request("linear", image=IMAGES)
        refused(grpc.StatusCode.UNAUTHENTICATED, "token", lambda: stub.Predict(given, 10))
        assert stub.Predict(given, 10, metadata=[("authorization", "Bearer secret")]).outputs
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{served.grpc_port} for gRPC"):
        Server(folder / "linear", port=0, grpc_port=served.grpc_port).__enter__()


def test_the_server_needs_no_tensorflow(folder, linear):
    program = f"""
import sys
from serving import Server
with Server({str(folder / "linear")!r}, port=0, grpc_port=0):
    print([name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_another_client(served, kind):
    """OpenVINO's client of TF Serving's API, whose version 0 is the latest."""
    ovms = pytest.importorskip("ovmsclient")
    port = served.grpc_port if kind == "grpc" else served.root.rpartition(":")[2]
    made = ovms.make_grpc_client if kind == "grpc" else ovms.make_http_client
    client = made(f"127.0.0.1:{port}")
    found = client.predict({"image": IMAGES}, "linear")
    np.testing.assert_allclose(found, IMAGES.reshape(5, 16) @ WEIGHTS, atol=1e-5)
    assert client.get_model_status("linear")[1]["state"] == "AVAILABLE"
    if kind == "grpc":  # of REST it reads OpenVINO's own form, in camel case
        assert client.get_model_metadata("linear")["inputs"]["image"]["shape"] == [-1, 4, 4, 1]
    with pytest.raises(Exception, match="nothing"):
        client.predict({"image": IMAGES}, "nothing")
