"""Hard attention: glimpses by cropping, the loss by hand, training, what is deployed."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.stats import norm

import export
import zoo
from zoo.data.loading import load
from zoo.data.sets import cluttered
from zoo.models.build import create
from zoo.models.ram import glimpse, looks
from zoo.models.saved import load_model
from zoo.tasks.labels.glimpses import EXPECTED, LIKELIHOOD, Glimpses
from zoo.training.fitting import fit

SMALL = [
    "data.limit=400",
    "settings={glimpses: 3}",
    "train.epochs=6",
    "train.batch_size=16",
    "hardware.strategy=one",
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return fit("ram", data="digits", out=tmp_path_factory.mktemp("runs") / "ram", changes=SMALL)


def at(row, size):
    """The place whose patch of an even side begins at a pixel."""
    return 2 * row / (size - 1) - 1


@pytest.mark.oracle
def test_a_glimpse_is_a_crop_and_zeros_outside():
    pixels = np.random.RandomState(0).uniform(size=(3, 20, 24)).astype("float32")
    middles = np.array([(9.5, 11.5), (3.5, 20.5), (19.5, 0.5)])
    places = np.stack([at(middles[:, 0], 20), at(middles[:, 1], 24)], axis=1).astype("float32")
    found = np.reshape(
        glimpse(tf.constant(pixels), tf.constant(places), side=8, scales=1), (3, 8, 8)
    )
    framed = np.pad(pixels, ((0, 0), (8, 8), (8, 8)))
    for one, whole, (row, column) in zip(found, framed, middles, strict=True):
        top, left = int(row + 0.5) + 4, int(column + 0.5) + 4
        np.testing.assert_allclose(one, whole[top : top + 8, left : left + 8], atol=1e-5)


@pytest.mark.oracle
def test_between_pixels_and_wider_it_is_the_triangles_mean():
    """By a loop over pixels; a wide patch keeps the mean of even grey."""
    pixels = np.random.RandomState(1).uniform(size=(1, 30, 30)).astype("float32")
    place = np.array([[0.13, -0.2]], "float32")
    found = np.reshape(
        glimpse(tf.constant(pixels), tf.constant(place), side=4, scales=2), (2, 4, 4)
    )
    for scale, step in enumerate((1, 2)):
        middle = (place[0] + 1) * 29 / 2
        for y, x in np.ndindex(4, 4):
            spot = middle + (np.array([y, x]) - 1.5) * step
            total = 0.0
            for row, column in np.ndindex(30, 30):
                near = 1 - np.abs(np.array([row, column]) - spot) / step
                total += pixels[0, row, column] * near.clip(0).prod() / step**2
            assert found[scale, y, x] == pytest.approx(total, abs=1e-5)
    even = glimpse(tf.ones((1, 30, 30)), tf.zeros((1, 2)), side=4, scales=2)
    np.testing.assert_allclose(even, 1.0, atol=1e-5)


@pytest.mark.oracle
def test_the_loss_is_its_equations():
    random, num, steps = np.random.RandomState(2), 9, 4
    outputs = {
        "logits": random.normal(size=(num, 5)),
        LIKELIHOOD: -random.uniform(size=(num, steps)),
        EXPECTED: random.uniform(size=(num, steps)),
    }
    outputs = {name: values.astype("float32") for name, values in outputs.items()}
    batch = {"image": np.zeros((num, 1), "float32"), "label": random.randint(5, size=num)}
    image = keras.Input((1,), name="image")

    class Says(keras.layers.Layer):
        def call(self, x):
            return {name: tf.constant(values) for name, values in outputs.items()}

        def compute_output_spec(self, x):
            return {name: keras.KerasTensor(values.shape) for name, values in outputs.items()}

    net = keras.Model(image, Says()(image))
    task = Glimpses(reward_weight=0.3)
    found = np.asarray(task.look("loss", {"net": net}, batch, training=True).loss.values)
    for n in range(num):
        logits, label = outputs["logits"][n].astype("float64"), batch["label"][n]
        loss = np.log(np.exp(logits).sum()) - logits[label]
        right = float(logits.argmax() == label)
        for t in range(steps):
            loss -= 0.3 * outputs[LIKELIHOOD][n, t] * (right - outputs[EXPECTED][n, t])
            loss += (outputs[EXPECTED][n, t] - right) ** 2
        assert found[n] == pytest.approx(loss, rel=1e-4)


@pytest.mark.oracle
def test_the_likelihood_is_that_of_a_gaussian_around_the_mean():
    """Its differences are scipy's, where no place was cut off; the path is that of the means."""
    net = create("ram", input_shape=(12, 12, 1), num_classes=3, glimpses=4, side=4, spread=0.05)
    images = np.random.RandomState(0).uniform(size=(6, 12, 12, 1)).astype("float32")
    path = looks(net)(images)
    assert path.shape == (6, 4, 2) and not np.any(path[:, 0])
    still = net(images, training=False)
    np.testing.assert_array_equal(path[:, 1:], still["auxiliary_places"])
    again = keras.models.clone_model(net)  # as from a file: names of operations are taken
    again.set_weights(net.get_weights())
    np.testing.assert_array_equal(looks(again)(images), path)
    np.testing.assert_array_equal(still[LIKELIHOOD], 0.0)
    means, drawn = [], []
    move = net.get_layer("move")
    inner = keras.Model(net.input, [net.output, *[n.outputs[0] for n in move._inbound_nodes]])
    for _ in range(5):
        found, *told = inner(images, training=True)
        means.append(np.stack(told, axis=1))
        drawn.append((np.asarray(found["auxiliary_places"]), np.asarray(found[LIKELIHOOD])))
    for mean, (place, log) in zip(means, drawn, strict=True):
        wanted = norm.logpdf(place, mean, 0.05).sum(axis=-1)
        most = norm.logpdf(0, 0, 0.05) * 2
        np.testing.assert_allclose(log, wanted - most, rtol=1e-3, atol=1e-3)
    assert looks(create("ram", input_shape=(12, 12, 1), side=4, places="random")) is None


def test_near_the_edges_the_places_score_is_zero_in_the_mean():
    """As that of any density; of places that are cut off it is not."""
    net = create("ram", input_shape=(8, 8, 1), num_classes=3, glimpses=2, side=4, spread=0.15)
    move = net.get_layer("move")
    move.kernel.assign(0 * move.kernel)
    move.bias.assign([2.0, -2.0])  # means of 0.96 and -0.96
    images = tf.zeros((2000, 8, 8, 1))
    with tf.GradientTape() as tape:
        found = net(images, training=True)
        score = tf.reduce_mean(found[LIKELIHOOD])
    places = np.asarray(found["auxiliary_places"])
    assert np.mean(np.abs(places) == 1) > 0.3  # what is looked at is within the picture
    slope = tape.gradient(score, move.bias.value).numpy()
    error = (1 - np.tanh(2.0) ** 2) / 0.15 / np.sqrt(len(images))
    assert (np.abs(slope) < 4 * error).all(), slope / error


def test_every_part_learns_by_its_own_signal():
    """The places by the reward alone, the classes without it: a gradient reaches both."""
    net = create("ram", input_shape=(8, 8, 1), num_classes=3, glimpses=2, side=4)
    random = np.random.RandomState(0)
    batch = {
        "image": tf.constant(random.uniform(size=(16, 8, 8, 1)), "float32"),
        "label": tf.constant(random.randint(3, size=16)),
    }

    def slopes(weight):
        task = Glimpses(reward_weight=weight)
        keras.utils.set_random_seed(0)
        with tf.GradientTape() as tape:
            seen = task.look("loss", {"net": net}, batch, training=True)
            total = tf.reduce_mean(seen.loss.values)
        found = tape.gradient(total, [v.value for v in net.trainable_variables])
        return {v.path.split("/")[-2]: float(tf.norm(g)) if g is not None else 0.0
                for v, g in zip(net.trainable_variables, found, strict=True)}  # fmt: skip

    without, with_reward = slopes(0.0), slopes(1.0)
    assert without["move"] == 0 and with_reward["move"] > 0
    assert without["logits"] > 0 and without["expect"] > 0


def test_it_learns_and_is_deployed_as_a_classifier(bundle, tmp_path):
    assert bundle.report.metrics["top1"] > 0.3 and bundle.card.task == "glimpses"
    model = load_model(bundle.path)
    assert model.output.shape == (None, 10)
    images = load("digits").test["image"][:40].astype("float32")
    np.testing.assert_array_equal(model(images), model(images))  # nothing is drawn
    found = export.export(model, "tflite", tmp_path / "file", samples=images)
    assert found.manifest.parity
    with Image.open(bundle.path / "glimpses.png") as sheet:  # the path of the looks
        assert sheet.size[0] > 4 * 8 * 6
    measured = zoo.evaluate(bundle, out=tmp_path / "measured")
    assert set(measured.evaluation.pictures) >= {"glimpses", "confusion"}
    assert looks(model)(images).shape == (40, 3, 2)


def test_pictures_of_digits_elsewhere(monkeypatch):
    monkeypatch.setattr(cluttered, "COUNTS", {"train": 30, "validation": 6, "test": 6})
    plain, among = load("translated_digits"), load("cluttered_digits")
    assert plain.train["image"].shape == (30, 60, 60, 1) and plain.labels == tuple("0123456789")
    rows = [np.flatnonzero(picture.any(axis=(1, 2))) for picture in plain.train["image"]]
    assert max(row.max() - row.min() for row in rows) < 28
    assert len({int(row.min()) for row in rows}) > 8
    assert (among.train["image"] > 0).sum() > 1.1 * (plain.train["image"] > 0).sum()
    np.testing.assert_array_equal(among.test["label"], plain.test["label"])


# Without oneDNN, whose products of matrices now and then add up in another order.
RESUMED = """
    from pathlib import Path
    from tests import toy
    from tests.test_glimpses import SMALL
    from zoo.training.fitting import fit

    out = Path({out!r})
    whole = fit("ram", data="digits", out=out / "whole", changes=SMALL)
    toy.check_resumed(whole, out / "part", changes=SMALL, stop_at=3, data="digits")
"""


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(tmp_path):
    code = textwrap.dedent(RESUMED.format(out=str(tmp_path)))
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}  # read where TensorFlow is imported
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
