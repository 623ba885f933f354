"""How far a file of integers is from the float model that it stands for."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

import export
from export.target import Labelled
from export.targets import find_target
from tests.beside import RANDOM, ROWS, in_litert, x


def test_integers_tell_their_distance_from_the_model_given(tmp_path):
    model = keras.Model(a := x(), layers.Dense(5)(layers.Dense(16, activation="relu")(a)))
    rows = RANDOM.randn(200, 10).astype("float32")  # each twice: one calibrates, one is compared
    twice = np.repeat(rows, 2, axis=0)
    done = export.export(model, "tflite-int8", tmp_path / "out", samples=twice)
    distance = done.manifest.distance
    (got,) = in_litert(done, {"x": rows}).values()
    want = np.asarray(model(rows), np.float64)
    noise = 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum())
    assert (distance.of, distance.samples) == ("the model given", 200)
    assert distance.sqnr_db == pytest.approx(noise, abs=0.05)
    assert distance.relative == pytest.approx(
        np.abs(got - want).max() / np.abs(want).max(), rel=1e-3
    )
    assert f"{distance.sqnr_db:.1f} dB" in (done.path / "MODEL_CARD.md").read_text()
    assert export.export(model, "onnx", tmp_path / "float").manifest.distance is None


def test_a_model_with_ranges_tells_its_distance_from_its_parent(tmp_path):
    import compress

    dense = layers.Dense(2000, activation="relu", name="fc")(a := x())  # a large kernel
    model = keras.Model(a, layers.Dense(5, activation="softmax", name="shares")(dense))
    small = compress.Quantize(epochs=0).apply(model, compress.Context(samples=ROWS[:8] * 0.1)).model
    alone = export.export(small, "tflite-int8", tmp_path / "alone", samples=ROWS).manifest
    assert alone.distance is None and alone.parity.relative < 0.05
    about = export.About(parent=model)
    for target in ("tflite-int8", "onnx"):
        done = export.export(small, target, tmp_path / target, samples=ROWS, about=about).manifest
        # Ranges of a tenth of the inputs cut most of them off, and the parent shows it.
        assert done.distance.of == model.name
        assert done.distance.relative > 5 * done.parity.relative
        assert done.distance.sqnr_db < 25
    other = keras.Model(b := x(3), layers.Dense(5)(b))
    with pytest.raises(ValueError, match=r"parent .*: takes inputs"):
        export.export(
            small, "onnx", tmp_path / "out", samples=ROWS, about=export.About(parent=other)
        )


@pytest.mark.parametrize(("metric", "passes"), [(0.9, True), (0.01, False), (None, False)])
def test_a_metric_of_nothing_does_not_judge_a_file(metric, passes, tmp_path):
    """Which is wrong row by row, by a limit that no file of integers keeps."""
    model = keras.Model(a := x(), layers.Dense(3)(a))
    samples = RANDOM.randn(64, 10).astype("float32")
    target = find_target("tflite-int8")
    strict = target.tolerance.model_copy(update={"max_relative": 1e-9})
    target = target.model_copy(update={"tolerance": strict})
    found = {} if metric is None else {"map": metric}
    labelled = Labelled({"x": samples}, lambda _: found, "map", ranked=True)
    make = partial(export.export, model, target, tmp_path / "out", samples=samples)
    if passes:
        assert make(labelled=labelled).manifest.parity.passed
        return
    with pytest.raises(export.ParityError, match="too little to judge a file by, and row by row"):
        make(labelled=labelled)
