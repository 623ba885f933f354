"""What is not served: changed files, broken manifests, settings out of range."""

from __future__ import annotations

import shutil

import pytest

from export.manifest import Signature
from serving import Server
from tests.serving.kit import spec, write_linear, write_manifest


def refused(directory, part, kind=ValueError, **settings):
    with pytest.raises(kind) as caught:
        Server(directory, port=0, **settings)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_refused(tmp_path):
    directory = write_linear(tmp_path / "changed")
    with (directory / "model.onnx").open("ab") as file:
        file.write(b"\0")
    refused(directory, "not complete yet, or changed after the export")


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
        ({"target": "tfjs"}, "is not served here; expected tflite, "),
        ({"target": "coreml"}, "expected tflite, tflite-float16, "),
        ({"target": "tflite"}, "does not run as the manifest says"),
        ({"rejected": "too far off"}, "failed its parity check"),
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
        (spec("image", (None, None, 4, 1)), LOGITS, "does not run as the manifest says"),
        (spec("image", (None, 4, 4, 1), "string"), LOGITS, "expected numbers or booleans"),
        (spec("image", ()), LOGITS, "expected numbers or booleans, a batch first"),
        (spec("image", (None, 0, 4, 1)), LOGITS, "expected numbers or booleans, a batch first"),
    ],
)
def test_a_signature_that_is_not_the_file_s_is_refused(tmp_path, taken, given, part):
    signature = Signature(inputs=(taken,), outputs=(given,))
    refused(write_linear(tmp_path / "model", signature=signature), part)


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
