"""TF Serving's documented examples, https://www.tensorflow.org/tfx/serving/api_rest."""

from __future__ import annotations

import numpy as np
import pytest

from tests.serving.kit import GOOD, IMAGES, WEIGHTS, call, predict


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


def test_classes_and_their_shares(linear, folder):
    examples = {"examples": [{"image": IMAGES[0].tolist()}, {"image": IMAGES[1].tolist()}]}
    status, payload = call(f"{linear.url}:classify", examples)
    logits = IMAGES[:2].reshape(2, 16) @ WEIGHTS
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert status == 200 and len(payload["results"]) == 2
    for row, share in zip(payload["results"], shares, strict=True):
        assert [int(name) for name, _ in row] == np.argsort(-share).tolist()
        np.testing.assert_allclose([value for _, value in row], sorted(share)[::-1], atol=1e-6)


def test_context_is_of_every_example(pair):
    sensor = np.ones((2, 2)).tolist()
    body = {"context": {"sensor": sensor}, "examples": [{"signal": [1] * 5}, {"signal": [2] * 5}]}
    status, payload = call(f"{pair.url}:classify", body)
    assert status == 400 and "expected scores of classes" in payload["error"]


def test_numbers(half_plus_three, linear):
    body = {"examples": [{"x": 1.0}, {"x": 2.0}, 5.0]}
    status, payload = call(f"{half_plus_three.url}:regress", body)
    assert status == 400 and "examples[2]: got 5.0; expected an object" in payload["error"]
    body["examples"].pop()
    assert call(f"{half_plus_three.url}:regress", body) == (200, {"results": [3.5, 4.0]})
    status, payload = call(f"{linear.url}:regress", {"examples": [{"image": GOOD}]})
    assert status == 400 and "linear answers (3,) for an example; expected one" in payload["error"]
    status, payload = call(f"{half_plus_three.url}:classify", body)
    assert status == 400 and "expected scores of classes" in payload["error"]
