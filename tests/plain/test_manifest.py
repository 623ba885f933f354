"""Export without TensorFlow: the manifest, the comparison, the examples and the catalogue."""

import gzip
import hashlib
import importlib.metadata
import re
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

import export
from export.examples import check_inputs, draw_inputs, in_batches
from export.manifest import Manifest, Signature, TensorSpec, digest, gzip_bytes, size_bytes
from export.parity import compare
from export.target import About, Tolerance
from export.targets import TARGETS, find_target, target_names
from zoo.common.answers import _FORMS, MEANINGS, meanings

LIMITS = Tolerance(max_relative=0.1, min_top1_agreement=1.0, tie=0.1)
FACTS = {"runtime": "test 1.0", "inputs": "given"}
IMAGE = Signature(
    inputs=(TensorSpec(name="image", shape=(None, 2, 2, 1), dtype="float32"),),
    outputs=(TensorSpec(name="logits", shape=(None, 3), dtype="float32"),),
)


def parity(expected, got):
    return compare({"logits": np.array(expected)}, {"logits": np.array(got)}, LIMITS, **FACTS)


def manifest(**changes):
    values = {
        "name": "net",
        "target": "onnx",
        "file": "model.onnx",
        "size_bytes": 3,
        "gzip_bytes": 23,
        "sha256": "0" * 64,
        "signature": IMAGE,
        "precision": "float32",
        "parity": parity([[1.0, 2.0]], [[1.0, 2.0]]),
    }
    return Manifest(**{**values, **changes})


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    wrote = manifest(
        labels=("a", "b"),
        meanings={"logits": "logits of the classes"},
        preprocessing={"scale": 255},
        operators={"Conv": 3},
    )
    wrote.write(tmp_path)
    assert Manifest.read(tmp_path) == wrote


def test_what_the_outputs_of_each_task_mean_is_said():
    assert set(MEANINGS) == set(_FORMS)  # of what `zoo predict` can tell
    assert meanings("classify", ["scores"]) == {"scores": "logits of the classes"}
    shares = {"scores": "probabilities of the classes"}
    assert meanings("classify", ["scores"], probabilities=True) == shares
    assert meanings("binary", ["x"], probabilities=True) == {"x": "probability of the second class"}
    found = meanings("detect", ["boxes", "scores", "classes", "extra"])
    assert list(found) == ["boxes", "scores", "classes"] and "pixels" in found["boxes"]
    assert meanings("classify", ["one", "other"]) == meanings("vae", ["reconstruction"]) == {}


def test_the_manifest_of_a_rejected_file_reads_back(tmp_path):
    wrote = manifest(parity=parity([[1.0, 2.0]], [[np.nan, 2.0]]))
    wrote.write(tmp_path)
    assert not Manifest.read(tmp_path).parity.passed
    assert "NaN" in Manifest.read(tmp_path).parity.reason


def test_a_directory_without_a_manifest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json: not found; expected"):
        Manifest.read(tmp_path)


def test_an_unknown_manifest_key_is_refused():
    with pytest.raises(ValidationError, match="colour"):
        manifest(colour="red")


def test_size_digest_and_gzip_of_a_file(tmp_path):
    content = b"abc" * 10_000
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert size_bytes(path) == len(content)
    assert digest(path) == hashlib.sha256(content).hexdigest()
    assert gzip_bytes(path) == len(gzip.compress(content, 6))


def test_size_and_digest_of_a_folder(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "index").write_bytes(b"12345")
    (tmp_path / "graph.pb").write_bytes(b"678")
    before = digest(tmp_path)
    assert size_bytes(tmp_path) == 8
    (tmp_path / "graph.pb").rename(tmp_path / "other.pb")
    assert digest(tmp_path) != before


def test_equal_outputs_pass():
    result = parity([[0.0, 1.0], [3.0, 1.0]], [[0.0, 1.0], [3.0, 1.0]])
    assert result.passed
    assert (result.max_abs, result.relative, result.top1_agreement) == (0.0, 0.0, 1.0)
    assert (result.samples, result.top1_samples, result.reason) == (2, 2, "")


def test_the_difference_is_relative_to_the_largest_output():
    result = parity([[0.0, -4.0]], [[0.2, -4.0]])
    assert result.passed
    assert result.relative == pytest.approx(0.05)
    result = parity([[0.0, -4.0]], [[0.5, -4.0]])
    assert not result.passed
    assert "differs by 0.125 of its largest value, limit 0.1" in result.reason


def test_another_winner_fails_and_a_tie_does_not_count():
    clear = compare(
        {"logits": np.array([[1.0, 0.8], [0.0, 1.0]])},
        {"logits": np.array([[0.8, 0.9], [0.0, 1.0]])},
        Tolerance(max_relative=0.5, min_top1_agreement=1.0, tie=0.1),
        **FACTS,
    )
    assert clear.top1_agreement == 0.5
    assert clear.reason == "top-1 agreement 0.5 over 2 examples, limit 1"
    tie = parity([[1.0, 0.95], [0.0, 1.0]], [[0.97, 0.98], [0.0, 1.0]])
    assert tie.passed
    assert (tie.top1_agreement, tie.top1_samples) == (1.0, 1)


def test_outputs_without_classes_get_the_numeric_check_alone():
    assert parity([[1.0], [2.0]], [[1.0], [2.0]]).top1_agreement is None
    assert parity(np.ones((2, 4, 4, 3)), np.ones((2, 4, 4, 3))).top1_agreement is None
    assert not parity(np.ones((2, 4, 4, 3)), 2 * np.ones((2, 4, 4, 3))).passed


@pytest.mark.parametrize(
    ("got", "reason"),
    [
        ({"logits": np.full((2, 3), np.nan)}, "output 'logits' of the file has NaN"),
        ({"logits": np.full((2, 3), np.inf)}, "output 'logits' of the file has NaN"),
        ({"logits": np.ones((3, 2))}, r"has shape \(3, 2\), expected \(2, 3\)"),
        ({"Identity": np.ones((2, 3))}, r"has outputs \['Identity'\], expected \['logits'\]"),
    ],
)
def test_outputs_that_cannot_be_compared_fail(got, reason):
    result = compare({"logits": np.ones((2, 3))}, got, LIMITS, **FACTS)
    assert not result.passed
    assert result.relative is None
    assert re.search(reason, result.reason)


def test_the_worst_of_several_outputs_decides():
    expected = {"a": np.ones((1, 1)), "b": 100 * np.ones((1, 1))}
    result = compare(expected, {"a": np.full((1, 1), 1.5), "b": expected["b"]}, LIMITS, **FACTS)
    assert "output 'a' differs by 0.5" in result.reason


def test_batches_cover_every_example_once():
    sizes = []

    def call(batch):
        sizes.append(len(batch["x"]))
        return {"y": 2 * batch["x"]}

    x = np.arange(70.0)
    np.testing.assert_array_equal(in_batches(call, {"x": x}, size=32)["y"], 2 * x)
    assert sizes == [32, 32, 6]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((4, 3, 2, 1)), r"'image': got shape \(4, 3, 2, 1\); expected \('n', 2, 2, 1\)"),
        (np.zeros((2, 2, 1)), r"got shape \(2, 2, 1\)"),
        (np.full((1, 2, 2, 1), np.nan), "got NaN or infinite"),
        (np.zeros((0, 2, 2, 1)), "got {'image': 0} examples"),
        ({"picture": np.zeros((1, 2, 2, 1))}, r"got inputs \['picture'\]; expected \['image'\]"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        check_inputs(samples, IMAGE)


def test_samples_take_the_type_of_the_model():
    arrays = check_inputs(np.zeros((3, 2, 2, 1), np.float64), IMAGE)
    assert arrays["image"].dtype == np.float32


def test_random_inputs_are_the_same_every_time_and_need_known_sizes():
    first, second = draw_inputs(IMAGE), draw_inputs(IMAGE)
    np.testing.assert_array_equal(first["image"], second["image"])
    assert first["image"].shape == (32, 2, 2, 1)
    free = TensorSpec(name="image", shape=(None, None, None, 3), dtype="float32")
    with pytest.raises(ValueError, match=r"cannot be drawn at random\. Pass `samples`"):
        draw_inputs(Signature(inputs=(free,), outputs=()))


def test_an_unknown_target_suggests_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown target 'tflite-int5'\. Did you mean 'tflite-int"
    ):
        find_target("tflite-int5")
    with pytest.raises(ValueError, match="Known: saved_model, tflite, tflite-float16, "):
        find_target("quite else")


@pytest.mark.parametrize("name", ["tflite", "tflite-int4", "onnx", "openvino", "tflm"])
def test_a_missing_package_gives_the_pip_line(name, monkeypatch):
    target = TARGETS[name]()
    wanted, version = target.requires[-1], importlib.metadata.version

    def hidden(distribution):
        if distribution == wanted:
            raise importlib.metadata.PackageNotFoundError
        return version(distribution)

    monkeypatch.setattr(importlib.metadata, "version", hidden)
    with pytest.raises(ModuleNotFoundError, match=f"export to {name}: .*pip install {wanted}$"):
        target.check_packages()


def test_a_target_refuses_unknown_and_wrong_settings():
    with pytest.raises(ValueError, match=r"^tflite-int8\.oi: unknown key\. Did you mean 'io'\?$"):
        TARGETS["tflite-int8"](oi="int8")
    with pytest.raises(ValueError, match=r"^tflite-int8\.io: got 'int4'; expected 'float32', 'int"):
        TARGETS["tflite-int8"](io="int4")
    with pytest.raises(ValueError, match=r"^onnx\.opset: got 19; expected less than or equal to 1"):
        find_target("onnx", {"opset": 19})
    with pytest.raises(
        ValueError, match=r"^tflite\.opset: unknown key\. Known: batch, fused, timeout_seconds\.$"
    ):
        find_target("tflite", {"opset": 13})
    with pytest.raises(ValidationError, match="frozen"):
        TARGETS["onnx"]().tolerance = LIMITS


def test_int8_ends_show_in_the_signature():
    signature = TARGETS["tflite-int8"](io="int8").signature(IMAGE)
    assert signature.inputs[0] == TensorSpec(name="image", shape=(1, 2, 2, 1), dtype="int8")
    assert TARGETS["tflite-int8"]().signature(IMAGE).inputs[0].dtype == "float32"


def test_free_sizes_are_refused_where_the_format_has_none():
    free = TensorSpec(name="image", shape=(None, None, None, 3), dtype="float32")
    signature = Signature(inputs=(free,), outputs=())
    with pytest.raises(ValueError, match="Build the model with a fixed input_shape"):
        TARGETS["tflite"]().check_signature(signature)
    TARGETS["onnx"]().check_signature(signature)


def test_importing_export_and_listing_targets_loads_nothing_heavy():
    code = (
        "import sys, export; names = export.target_names(); export.TARGETS; "
        "heavy = {'tensorflow', 'keras', 'numpy', 'onnx'} & set(sys.modules); "
        "sys.exit(f'{heavy}' if heavy or not names else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_has_a_home():
    assert sorted(export.__all__) == sorted(export._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'exporter'"):
        export.exporter  # noqa: B018
    assert export.About is About
    assert export.target_names is target_names


def test_a_list_of_targets_needs_no_tensorflow():
    code = (
        "import sys\nfrom zoo.cli import main\nmain(['list', 'targets'])\n"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == list(target_names())
    assert {row[2] for row in rows} == {"numeric", "compile", "convert-only"}
