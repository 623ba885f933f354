"""Model directories small enough to check by hand, and calls to the servers of them."""

from __future__ import annotations

import contextlib
import http.client
import json
from urllib.parse import urlsplit

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.manifest import Manifest, Parity, Signature, TensorSpec, digest

RANDOM = np.random.RandomState(7)
WEIGHTS = RANDOM.randn(16, 3).astype("float32")
IMAGES = RANDOM.randn(5, 4, 4, 1).astype("float32")
GOOD = np.zeros((4, 4, 1)).tolist()

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
    changes = {"task": "classify"} | changes
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


def write_lines(directory):
    """The mean over any number of steps, of which the window takes two."""
    nodes = [
        helper.make_node("AveragePool", ["turned"], ["means"], kernel_shape=[2]),
        helper.make_node("ReduceMean", ["means", "axes"], ["level"], keepdims=0),
    ]
    nodes.insert(0, helper.make_node("Transpose", ["lines"], ["turned"], perm=[0, 2, 1]))
    inputs, outputs = [spec("lines", (None, None, 3))], [spec("level", (None, 3))]
    return write_onnx(directory, nodes, inputs, outputs, [("axes", np.array([2]))])


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


def write_sum(directory):
    """A step: what was said so far, and what is said now."""
    nodes = [
        helper.make_node("Add", ["x", "total"], ["next_total"]),
        helper.make_node("Identity", ["next_total"], ["y"]),
    ]
    inputs = [spec("x", (None, 1)), spec("total", (None, 1))]
    outputs = [spec("y", (None, 1)), spec("next_total", (None, 1))]
    return write_onnx(directory, nodes, inputs, outputs)


def write_told(directory, side, told, **changes):
    """Reads pictures of `side` pixels, and answers the arrays (1, ...) of `told` to each."""
    nodes = [
        helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"_{name}", "nothing"], [name]) for name in told),
    ]
    constants = [(f"_{name}", np.float32(array)) for name, array in told.items()]
    inputs = [spec("image", (1, side, side, 3))]
    outputs = [spec(name, np.shape(array)) for name, array in told.items()]
    known = {"size": side, "channels": 3, "pad": 8, "mean": [0, 0, 0], "std": [1, 1, 1]}
    changes = {"preprocessing": known} | changes
    constants.append(("zero", np.float32(0)))
    return write_onnx(directory, nodes, inputs, outputs, constants, **changes)


def write_pictured(directory):
    """The linear classifier, of pictures."""
    known = {"size": 4, "channels": 1}
    return write_linear(directory, preprocessing=known, task="classify")
