"""Non-maximum suppression: TensorFlow's greedy loop as the oracle, and files of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
from zoo.layers import NonMaxSuppression

RANDOM = np.random.RandomState(4)


def scene(batch=3, num=60, classes=4):
    """Boxes in clusters, so that many overlap: (batch, num, 4), and scores, all different."""
    centre = RANDOM.uniform(0.2, 0.8, (batch, 6, 2))[:, RANDOM.randint(0, 6, num)]
    centre = centre + RANDOM.normal(0, 0.04, (batch, num, 2))
    half = RANDOM.uniform(0.05, 0.15, (batch, num, 2))
    boxes = np.concatenate([centre - half, centre + half], -1).astype("float32")
    size = batch * num * classes
    scores = (RANDOM.permutation(size).reshape(batch, num, classes) / size).astype("float32")
    return boxes, scores


def network(num=60, classes=4, **settings):
    boxes, scores = keras.Input((num, 4), name="boxes"), keras.Input((num, classes), name="scores")
    found = NonMaxSuppression(name="suppression", **settings)([boxes, scores])
    outputs = dict(zip(("kept_boxes", "kept_scores", "kept_classes"), found, strict=True))
    return keras.Model([boxes, scores], outputs)


@pytest.mark.oracle
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("least", [0.0, 0.4])
def test_it_is_the_greedy_loop(iou, least):
    boxes, scores = scene()
    settings = {"iou_threshold": iou, "score_threshold": least}
    got = network(max_outputs=50, candidates=240, **settings)([boxes, scores])
    expected = tf.image.combined_non_max_suppression(
        boxes[:, :, None],
        scores,
        max_output_size_per_class=50,
        max_total_size=50,
        clip_boxes=False,
        **settings,
    )
    assert expected.valid_detections.numpy().min() > 5
    np.testing.assert_allclose(got["kept_scores"], expected.nmsed_scores, atol=1e-6)
    np.testing.assert_allclose(got["kept_boxes"], expected.nmsed_boxes, atol=1e-6)
    np.testing.assert_array_equal(got["kept_classes"], expected.nmsed_classes.numpy().astype(int))


def test_a_chain_needs_as_many_steps_as_it_is_long():
    """Each box overlaps the next alone; the greedy loop keeps every second one."""
    left = np.arange(12, dtype="float32") * 0.4
    boxes = np.stack([0 * left, left, 0 * left + 1, left + 1], -1)[None]
    scores = np.linspace(1, 0.5, 12, dtype="float32")[None, :, None]
    settings = {"max_outputs": 12, "candidates": 12, "iou_threshold": 0.4}
    whole = network(12, 1, **settings)([boxes, scores])["kept_scores"][0]
    np.testing.assert_allclose(whole, [*scores[0, ::2, 0], *[0] * 6])
    short = network(12, 1, steps=3, **settings)([boxes, scores])["kept_scores"][0]
    assert np.abs(short - whole).max() > 0.1


def test_boxes_without_an_area_and_fewer_than_asked_for():
    boxes, scores = np.zeros((1, 3, 4), "float32"), np.full((1, 3, 1), 0.5, "float32")
    got = network(3, 1, max_outputs=5, candidates=9)([boxes, scores])
    assert got["kept_boxes"].shape == (1, 5, 4)
    np.testing.assert_allclose(got["kept_scores"][0], [0.5, 0.5, 0.5, 0, 0])


@pytest.mark.parametrize("target", ["saved_model", "tflite", "onnx", "openvino"])
def test_files_of_it_keep_the_same_boxes(target, tmp_path):
    model = network(max_outputs=20)
    boxes, scores = scene(batch=8)
    done = export.export(
        model, target, tmp_path / "out", samples={"boxes": boxes, "scores": scores}
    )
    assert done.manifest.parity.max_abs <= 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_outputs": 0}, "max_outputs got 0; expected at least 1"),
        ({"candidates": 5}, "candidates got 5; expected at least max_outputs, 100"),
        ({"iou_threshold": 50}, "got iou_threshold 50"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NonMaxSuppression(**settings)


def test_it_saves_and_loads(tmp_path):
    model, inputs = network(max_outputs=7, steps=3), scene(batch=2)
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    for a, b in zip(model(inputs).values(), again(inputs).values(), strict=True):
        np.testing.assert_array_equal(a, b)
