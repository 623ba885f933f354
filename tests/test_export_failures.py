"""What converters and runtimes raise becomes one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import export
from export.failures import told_as
from export.targets import find_target
from export.targets.onnx import ONNX
from tests.beside import x
from zoo.cli.quiet import told


def resized():
    image = keras.Input((12, 12, 8), name="image")
    return keras.Model(image, layers.Resizing(7, 5, antialias=True)(image))


def remembering():
    lines = keras.Input(batch_shape=(1, 6, 4), name="x")
    return keras.Sequential([lines, layers.LSTM(5, stateful=True, name="lstm"), layers.Dense(2)])


def by_bits():
    return keras.Model(a := x(), layers.Dense(2)(ops.cast(ops.signbit(a), "float32")))


class InPython(layers.Layer):
    def call(self, inputs):
        return tf.numpy_function(lambda array: 2 * array, [inputs], tf.float32)

    def compute_output_shape(self, shape):
        return shape


def in_python():
    return keras.Model(a := x(), InPython()(a))


FAILURES = {
    ("saved_model", in_python): "PyFunc calls Python (PyFunc), which no file holds",
    ("tflite", resized): "no built-in operator for ScaleAndTranslate",
    ("onnx", resized): "No Op registered for ScaleAndTranslate",
    ("openvino", resized): "ScaleAndTranslate",
    ("onnx", by_bits): "Bitcast",
    **{
        (target, remembering): "recurrent layer 'lstm' is stateful"
        for target in export.target_names()
    },
}


@pytest.mark.parametrize(
    ("target", "build"), FAILURES, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_failure_is_one_line(target, build, tmp_path, monkeypatch, capfd):
    find = find_target(target)
    if build is remembering:  # told before a package is needed
        monkeypatch.setattr(type(find), "check_packages", lambda self: None)
    with pytest.raises(RuntimeError) as caught:
        export.export(build(), find, tmp_path / "out")
    line = told(caught.value)
    assert line and "\n" not in line and line.startswith(f"export to {target}: ")
    assert FAILURES[target, build] in line and len(line) < 450
    assert not list(tmp_path.iterdir())
    assert "ERROR:tf2onnx" not in capfd.readouterr().err


def test_integers_made_of_another_file_fail_by_their_own_name(tmp_path):
    samples = np.ones((4, *by_bits().inputs[0].shape[1:]), "float32")
    with pytest.raises(
        RuntimeError, match=r"^export to onnx-int8: the converter failed: "
    ) as caught:
        export.export(by_bits(), "onnx-int8", tmp_path / "out", samples=samples)
    assert told(caught.value)


class Strange(ONNX):
    """Fails as converters do, with whatever comes."""

    error: str
    late: bool = False

    def _fail(self):
        raise {"key": KeyError("x:0"), "none": AssertionError(), "os": OSError("h5 is odd")}[
            self.error
        ]

    def write(self, source, directory):
        if not self.late:
            exec("import json; json.loads('{')") if self.error == "library" else self._fail()
        return super().write(source, directory)

    def fault(self, path):
        return self._fail() if self.late else ""


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"error": "key"}, "the converter failed: KeyError: 'x:0'."),
        ({"error": "none"}, "the converter failed: AssertionError."),
        ({"error": "os"}, "the converter failed: h5 is odd."),
        ({"error": "library"}, "the converter failed: Expecting property name"),
        (
            {"error": "key", "late": True},
            "onnxruntime cannot read what was written: KeyError: 'x:0'.",
        ),
    ],
)
def test_whatever_is_raised_becomes_one_line(settings, line, tmp_path):
    model = keras.Model(a := x(), layers.Dense(2)(a))
    with pytest.raises(RuntimeError) as caught:
        export.export(model, Strange(**settings), tmp_path / "out")
    assert told(caught.value).startswith(f"export to onnx: {line}")
    assert caught.value.__cause__ is not None
    assert not list(tmp_path.iterdir())


def test_what_we_raise_passes_and_the_disk_has_its_own_line():
    with pytest.raises(ValueError, match="export: unknown target"), told_as("onnx", "it failed"):
        find_target("none of all")
    with pytest.raises(OSError, match="full"), told_as("onnx", "it failed"):
        raise OSError(28, "full")


@pytest.mark.parametrize("axis", [None, 0])
def test_an_output_without_a_batch_is_refused(axis, tmp_path):
    model = keras.Model(a := x(), {"total": ops.sum(a, axis=axis)})
    with pytest.raises(ValueError, match=r"output 'total' has shape .*; expected the batch first"):
        export.export(model, "onnx", tmp_path / "out")


def test_tokens_beside_activations_of_16_bits_are_told(tmp_path):
    words = keras.Input((4,), dtype="int32", name="words")
    table = layers.Flatten()(layers.Embedding(9, 3, name="table")(words))
    model = keras.Model(words, layers.Dense(2, name="out")(table))
    tokens = np.random.RandomState(0).randint(0, 9, (64, 4)).astype("int32")
    with pytest.raises(RuntimeError) as caught:
        export.export(model, "tflite-int16x8", tmp_path / "out", samples=tokens)
    assert "the converter failed: it has no 16 bits for what flows where whole" in str(caught.value)
    assert str(caught.value).count("\n") == 0
