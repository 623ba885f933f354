"""An ONNX directory is served, from start to answer, without TensorFlow and without Keras."""

import json
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.manifest import Manifest, Parity, Signature, TensorSpec, digest

ASK = """
import http.client, json, sys, urllib.parse
from serving import Server

with Server(sys.argv[1], port=0) as server:
    url = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    connection.request("POST", url.path + ":predict", '{"instances": [1.0, 2.0, 5.0]}')
    answer = json.load(connection.getresponse())
heavy = sorted({"tensorflow", "keras", "ai_edge_litert"} & set(sys.modules))
print(json.dumps({"runtime": server.runtime, "answer": answer, "heavy": heavy}))
"""


def half_plus_three(directory):
    """TF Serving's toy, x / 2 + 3, as a directory that `zoo export` could have written."""
    constants = [
        numpy_helper.from_array(np.float32(0.5), "half"),
        numpy_helper.from_array(np.float32(3), "three"),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "half"], ["halved"]),
            helper.make_node("Add", ["halved", "three"], ["y"]),
        ],
        "half_plus_three",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        constants,
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=10), directory / "model.onnx"
    )
    Manifest(
        name="half_plus_three",
        target="onnx",
        file="model.onnx",
        size_bytes=0,
        gzip_bytes=0,
        sha256=digest(directory / "model.onnx"),
        signature=Signature(
            inputs=(TensorSpec(name="x", shape=(None,), dtype="float32"),),
            outputs=(TensorSpec(name="y", shape=(None,), dtype="float32"),),
        ),
        precision="float32",
        parity=Parity(
            runtime="none",
            samples=1,
            inputs="random",
            max_abs=0,
            relative=0,
            top1_agreement=1,
            max_relative=1e-4,
            min_top1_agreement=1,
            passed=True,
        ),
    ).write(directory)


def test_onnx_is_served_without_tensorflow(tmp_path):
    half_plus_three(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["answer"] == {"predictions": [3.5, 4.0, 5.5]}
    assert told["heavy"] == []
    assert told["runtime"].startswith("ONNX Runtime")
