"""L-BFGS against scikit-learn and closed forms, and what it refuses."""

import os
import signal

import keras
import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from tests import toy
from tests.toy import DATA, SCALE, settings, small
from zoo.data.feeds.feed import Feed
from zoo.recipe import Hardware
from zoo.tasks.labels.classify import Classify
from zoo.tasks.supervised import Supervised
from zoo.tasks.task import Mean
from zoo.training import fitting, lbfgs, strategy

IMAGES = SCALE.apply(DATA.train["image"]).reshape(len(DATA.train), -1).astype("float64")
LABELS = DATA.train["label"]


def softmax_regression(seed=0):
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(image)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="softmax")


def fit(model, *, epochs=500, task=None, split=DATA.train, l2=0.0, **options):
    machine = strategy.choose_machine(Hardware(strategy="one", precision="mixed_bfloat16"))
    chosen = settings(epochs=epochs, kind="lbfgs", regularize={"l2": l2})
    batches = feed(split, 250)  # 640 images: the last batch is padded
    return lbfgs.fit(model, task or Classify(), chosen, machine, batches, **options)


def feed(split=DATA.train, batch_size=320):
    return Feed(split, {"image": SCALE}, batch_size=batch_size)


def objective(kernel, bias, l2):
    """Mean cross-entropy plus l2 times the sum of squares, in float64."""
    logits = IMAGES @ np.asarray(kernel, "float64") + np.asarray(bias, "float64")
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(LABELS)), LABELS]
    return loss.mean() + l2 * (np.asarray(kernel, "float64") ** 2).sum()


@pytest.mark.oracle
@pytest.mark.parametrize("l2", [1e-2, pytest.param(1e-3, marks=pytest.mark.slow)])
def test_reaches_the_objective_of_scikit_learn(l2):
    model = softmax_regression()
    history = fit(model, l2=l2)
    # Theirs is C * sum of losses + sum of squares / 2.
    theirs = LogisticRegression(C=1 / (2 * l2 * len(LABELS)), tol=1e-10, max_iter=10_000)
    theirs.fit(IMAGES, LABELS)
    layer = model.get_layer("logits")
    ours, best = (
        objective(kernel, bias, l2)
        for kernel, bias in ((layer.kernel, layer.bias), (theirs.coef_.T, theirs.intercept_))
    )
    assert abs(ours - best) < 1e-5
    assert history.rows[-1]["objective"] == pytest.approx(ours, abs=1e-5)
    told = objective(layer.kernel, layer.bias, 0.0)
    assert history.rows[-1]["loss"] == pytest.approx(told, abs=1e-5)
    assert 10 < history.epochs < 500 and not history.interrupted
    falls = np.diff([row["objective"] for row in history.rows])
    assert (falls <= 0).all()


TARGET = np.random.RandomState(0).normal(size=(10, 1)).astype("float32")


class Squares(Supervised):
    """A number for each image: the mean squared error against a fixed target."""

    kind: str = "squares"

    def loss_of(self, batch, outputs):
        target = keras.ops.take(TARGET, batch["label"], axis=0)
        return Mean(keras.ops.mean((outputs - target) ** 2, axis=-1))


@pytest.mark.oracle
def test_least_squares_equals_numpy():
    """Pooled to 16 features, so that there is one solution."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.AveragePooling2D(2, name="pool")(image)
    x = keras.layers.Flatten(name="flatten")(x)
    model = keras.Model(image, keras.layers.Dense(1, name="logits")(x))
    fit(model, task=Squares())
    pooled = IMAGES.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(LABELS), -1)
    features = np.concatenate([pooled, np.ones((len(LABELS), 1))], axis=1)
    solution, *_ = np.linalg.lstsq(features, TARGET[LABELS].astype("float64"))
    layer = model.get_layer("logits")
    found = np.concatenate([layer.kernel.numpy(), layer.bias.numpy()[None]])
    np.testing.assert_allclose(found, solution, atol=1e-3)
    errors = [np.mean((features @ w - TARGET[LABELS]) ** 2) for w in (found, solution)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_trains_a_network_and_calls_back(tmp_path):
    model = small()
    seen = []
    given = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs)),
    ]
    validation = feed(DATA.validation, 100)
    history = fit(model, epochs=12, validation=validation, callbacks=given)
    assert history.epochs == 12 == len(seen)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 13
    assert history.rows[-1]["val_top1"] > 0.75 and history.rows[-1]["loss"] < 0.5
    assert history.images >= 12 * len(DATA.train) and history.seconds > 0


@pytest.mark.parametrize(
    ("options", "match"),
    [({"dropout": 0.5}, "'drop'.*random numbers"), ({"batch_norm": True}, "'conv_bn'.*statistics")],
)
def test_refuses_what_changes_the_objective(options, match):
    with pytest.raises(ValueError, match=match):
        fit(small(**options))


def test_frozen_layers_do_not_change_the_objective():
    """The head of a network with batch normalisation and dropout, on features that stay."""
    model = small(batch_norm=True)
    before = model.get_weights()
    machine = strategy.choose_machine(Hardware(strategy="one", precision="float32"))
    chosen = settings(epochs=20, kind="lbfgs", transfer={"weights": "imagenet", "unfreeze": 0.1})
    history = lbfgs.fit(model, Classify(), chosen, machine, feed())
    assert history.rows[-1]["loss"] < 0.1
    for old, new in zip(before[:-2], model.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(old, new)


def press_at(iteration):
    def press(epoch, logs):
        if epoch + 1 == iteration:
            os.kill(os.getpid(), signal.SIGINT)

    return keras.callbacks.LambdaCallback(on_epoch_end=press)


CHANGES = (
    "train.optimizer.kind=lbfgs", "train.regularize.l2=0.01", "train.epochs=200", "data.limit=200",
)  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_leaves_a_bundle_and_resume_starts_from_its_best_point(tmp_path):
    out = tmp_path / "out"
    first = fitting.fit("linear", data="digits", out=out, changes=CHANGES, callbacks=[press_at(6)])
    assert first.report.status == "interrupted" and first.report.epochs == 6
    assert first.report.metrics["top1"] > 0.7
    stopped = float((out / "history.csv").read_text().splitlines()[-1].split(",")[2])
    bundle = fitting.fit("linear", out=out, resume=True)
    lines = (out / "history.csv").read_text().splitlines()
    assert bundle.report.status == "complete" and 6 < bundle.report.epochs == len(lines) - 1 < 200
    assert float(lines[6].split(",")[2]) == stopped > float(lines[7].split(",")[2])
    whole = fitting.fit("linear", data="digits", out=tmp_path / "whole", changes=CHANGES)
    ends = [
        float((path / "history.csv").read_text().splitlines()[-1].split(",")[2])
        for path in (out, whole.path)
    ]
    assert ends[0] == pytest.approx(ends[1], abs=1e-5)


def test_ctrl_c_within_an_iteration_keeps_the_last_point(monkeypatch):
    batches = []

    class Sums(lbfgs.Sums):
        def add(self, sums):
            super().add(sums)
            batches.append(self)
            if len(batches) == 15:  # after the first of two batches
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(lbfgs, "Sums", Sums)
    model = softmax_regression()
    machine = strategy.choose_machine(Hardware(strategy="one", precision="float32"))
    chosen = settings(epochs=50, kind="lbfgs")
    history = lbfgs.fit(model, Classify(), chosen, machine, feed())
    assert len(batches) == 15 and history.interrupted and 1 < history.epochs < 8
    layer = model.get_layer("logits")
    now = objective(layer.kernel, layer.bias, 0.0)
    assert now == pytest.approx(history.rows[-1]["objective"], abs=1e-5)


TWO_DEVICES = """
    import json
    from tests.test_lbfgs import *

    two = strategy.choose_machine(Hardware(strategy="mirrored", devices=2, precision="float32"))
    one = strategy.choose_machine(Hardware(strategy="one", precision="float32"))
    ends = []
    for machine in (one, two):
        model = softmax_regression()
        chosen = settings(epochs=10, kind="lbfgs", regularize={"l2": 0.01})
        history = lbfgs.fit(model, Classify(), chosen, machine, feed(DATA.train, 250))
        ends.append([row["objective"] for row in history.rows])
    print(json.dumps(ends))
"""


@pytest.mark.dist
def test_two_devices_descend_like_one():
    """In a process of its own: TensorFlow splits the CPU only before its first operation."""
    one, two = toy.printed(TWO_DEVICES)
    np.testing.assert_allclose(one, two, rtol=1e-4)
    assert len(one) == 10 and one[-1] < 0.5 * one[0]
