"""Numbers that a model does not take are refused, before the runtime sees them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import export
from export.manifest import Manifest
from serving import Server
from serving.models.ranges import check
from tests.serving.kit import call, predict, spec, write_lookup, write_onnx

keras = pytest.importorskip("keras")
FAR = 2**53 + 1


def whole(name="x", dtype="int64"):
    """A model that counts in integers of 64 bits."""
    x = keras.Input((2,), dtype=dtype, name=name)
    y = keras.ops.cast(x, "int64") * 2 + 1
    return keras.Model(x, keras.layers.Identity(name="y")(y), name="whole")


def table():
    ids = keras.Input((3,), dtype="int32", name="ids")
    found = keras.layers.Flatten()(keras.layers.Embedding(50, 2, name="table")(ids))
    return keras.Model(ids, keras.layers.Dense(1, name="score")(found), name="table")


@pytest.fixture(scope="module")
def samples():
    return np.random.RandomState(0).randint(0, 50, (8, 3))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, samples):
    pytest.importorskip("openvino")
    out = tmp_path_factory.mktemp("narrow") / "whole"
    return export.export(whole(), "openvino", out, samples=samples[:, :2]).path


def test_a_runtime_of_32_bits_tells_how_far_it_counts(narrow):
    manifest = Manifest.read(narrow)
    assert manifest.ranges == {"x": (-(2**30), 2**30 - 1)}
    assert "Input 'x' takes numbers from -1073741824 to 1073741823." in manifest.notes()
    with Server(narrow, port=0) as server:
        right = [2**30 - 1, -(2**30)]
        told = predict(server, {"instances": [right]})
        assert told == (200, {"predictions": [[2 * x + 1 for x in right]]})
        status, told = predict(server, {"instances": [[1, 2], [3, FAR]]})
        assert status == 400 and told["error"] == (
            "input 'x', example 1: got 9007199254740993; expected numbers from -1073741824 to "
            "1073741823: the model has no answer to others."
        )
        described = call(f"{server.url}/metadata")[1]["metadata"]["meanings"]
        assert described == {"x": "numbers from -1073741824 to 1073741823"}


def test_a_file_that_was_exported_before_is_not_asked_beyond_32_bits(narrow, tmp_path):
    manifest = Manifest.read(narrow)
    (tmp_path / "copy").mkdir()
    for file in (narrow / "openvino").iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    changes = {"ranges": {}, "file": "copy", "name": "old"}
    manifest.model_copy(update=changes).write(tmp_path)
    with Server(tmp_path, port=0) as server:
        status, told = predict(server, {"instances": [[1, 2**31]]})
        assert status == 400 and "expected numbers from -2147483648 to 2147483647" in told["error"]


def test_a_runtime_of_64_bits_takes_them_all(tmp_path, samples):
    done = export.export(whole(), "tflite", tmp_path / "whole", samples=samples[:, :2])
    assert done.manifest.ranges == {}
    with Server(done.path, port=0) as server:
        told = predict(server, {"instances": [[FAR, -FAR]]})
        assert told == (200, {"predictions": [[2 * FAR + 1, -2 * FAR + 1]]})


@pytest.mark.parametrize("target", ["tflite", "openvino"])
def test_a_table_has_an_end(tmp_path, samples, target):
    pytest.importorskip(target if target == "openvino" else "ai_edge_litert")
    done = export.export(table(), target, tmp_path / "table", samples=samples)
    assert done.manifest.ranges == {"ids": (-50, 49)}
    assert "takes numbers from -50 to 49" in (done.path / "MODEL_CARD.md").read_text()
    with Server(done.path, port=0) as server:
        assert predict(server, {"instances": [[49, 0, -50]]})[0] == 200
        for bad in (50, -51):
            status, told = predict(server, {"inputs": {"ids": [[0, 1, 2], [3, 4, bad]]}})
            assert status == 400
            assert f"input 'ids', example 1: got {bad}; expected numbers from -50" in told["error"]


def test_nan_is_in_no_range():
    check({"x": np.float32([[0, 49]])}, {"x": (0, 49)})
    with pytest.raises(ValueError, match="example 1: got nan; expected numbers from 0 to 49"):
        check({"x": np.float32([[0], [np.nan]])}, {"x": (0, 49)})


def test_what_the_runtime_says_is_one_sentence(lookup, tmp_path):
    status, told = predict(lookup, {"instances": [[3, 4]]})
    assert status == 400 and "has no answer to a value of the request: indices el" in told["error"]
    from serving.engines import told as said

    lite = RuntimeError("gather index out of boundsNode number 3 (GATHER) failed to invoke.")
    assert said("LiteRT 2", lite) == (
        "LiteRT 2 has no answer to a value of the request: gather index out of bounds."
    )
    flow = RuntimeError("Graph execution error: at x <stack> indices[0,0] = 50 is not in [0, 50)"
                        "\n\t [[{{node a/b}}]] [Op:__inference_1]")  # fmt: skip
    assert said("TensorFlow 2", flow).endswith("request: indices[0,0] = 50 is not in [0, 50).")


def test_an_integer_file_says_that_it_gives_logits(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["probs"])]
    shapes = [spec("x", (None, 2))], [spec("probs", (None, 2))]
    base = tmp_path / "model"
    base.mkdir()
    for number, facts in ((1, {}), (2, {"logits": ["probs"]})):
        made = write_onnx(tmp_path / str(number), nodes, *shapes, facts=facts)
        made.rename(base / str(number))
    with Server(base, port=0) as server:
        v1 = call(f"{server.url}/metadata")[1]["metadata"]["meanings"]["probs"]
        v2 = call(f"{server.root}/v2/models/model")[1]["outputs"][0]["parameters"]["meaning"]
        paths = call(f"{server.root}/openapi.json")[1]["paths"]
        operation = paths["/v1/models/model:predict"]["post"]
        for told in (v1, v2, operation["description"]):
            assert "logits: a softmax makes the model's shares of them" in told


def test_a_file_that_holds_int8_says_what_the_server_takes(lite_int8):
    told = call(f"{lite_int8.url}/metadata")[1]["metadata"]["meanings"]
    assert told["image"] == "float32 here: the server turns it into the file's int8, or back"


def test_a_lookup_has_no_range(tmp_path):
    with Server(write_lookup(tmp_path / "lookup"), port=0) as server:
        assert "meanings" not in call(f"{server.url}/metadata")[1]["metadata"]
