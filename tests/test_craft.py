"""`zoo check`, `zoo find-lr` and `zoo tune`: each check can fail, each number is recomputed."""

import csv
import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import optuna
import pytest
import tensorflow as tf
from scipy.stats import kstest

from tests import toy
from zoo.common.staging import claimed
from zoo.craft import check, copies, find_lr, folds, gradients, health, space, tune
from zoo.craft import study as studies
from zoo.craft.check import Bench
from zoo.craft.plan import Plan, prepare
from zoo.data.preprocessing import Preprocessing
from zoo.recipe import Recipe, changed, resolve
from zoo.tasks.labels.classify import Classify
from zoo.training import run as runs
from zoo.training.run import Run

ROOT = Path(__file__).parents[1]
RATE = "train.optimizer.learning_rate"
CLASSES = 5
FIRST = math.log(CLASSES)
TINY = ["train.epochs=1", "data.size=null"]


# What is checked: small nets on random pictures.


def net(*layers, shape=(6, 6, 1), logits=1.0):
    x = image = keras.Input(shape, name="image")
    for layer in layers:
        x = layer(x)
    if len(x.shape) > 2:
        x = keras.layers.Flatten()(x)
    head = keras.layers.Dense(CLASSES, name="logits")
    model = keras.Model(image, head(x))
    head.kernel.assign(head.kernel * logits)
    return model


def bench(model, loss="cross_entropy", first=FIRST, num=32):
    random = np.random.RandomState(0)
    images = random.standard_normal((num, *model.input_shape[1:])).astype("float32")
    labels = np.arange(num, dtype="int32") % CLASSES
    return Bench({"net": model}, Classify(loss=loss), {"image": images, "label": labels}, first)


def dense(units, kind=None, scale=1.0, name=None, bias=0.0):
    start = keras.initializers.VarianceScaling(
        scale**2 * (2 if kind == "relu" else 1), "fan_in", "normal", seed=0
    )
    return keras.layers.Dense(
        units,
        activation=kind,
        kernel_initializer=start,
        bias_initializer=keras.initializers.Constant(bias),
        name=name,
    )


def layers_of(model):
    table = bench(model)
    return health.layer_health(table.task, table.networks, table.batch(32))


class Scaled(keras.layers.Layer):
    """A product whose backward pass is off by a factor."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones", name="scale")

    def call(self, inputs):
        @tf.custom_gradient
        def times(x, w):
            return x * w, lambda up: (up * w, self.factor * tf.reduce_sum(up * x, axis=0))

        return times(inputs, tf.convert_to_tensor(self.scale))

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "ok"), (1.001, "FAIL"), (math.nan, "FAIL")])
def test_gradient_check_finds_a_wrong_backward_pass(factor, verdict):
    model = net(keras.layers.Flatten(), dense(8, "tanh"), Scaled(factor, name="odd"))
    found = check.gradient(bench(model))
    assert found.verdict == verdict
    if verdict == "FAIL":
        assert "Scaled scale" in found.remedy and "Dense" not in found.remedy
        assert found.values["path"] == "odd/scale"
    else:
        assert set(found.values["kinds"]) == {"Dense kernel", "Dense bias", "Scaled scale"}


def test_gradient_check_passes_kinks_chance_and_nested_models():
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, name="conv"), keras.layers.ReLU()])
    model = net(
        inner,
        keras.layers.MaxPooling2D(2),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5, seed=1),
        dense(16, "relu"),
    )
    before = [w.numpy() for w in model.weights]
    found = check.gradient(bench(model))
    assert found.verdict == "ok" and found.values["error"] < 1e-5
    assert "Conv2D kernel" in found.values["kinds"]
    assert "BatchNormalization gamma" in found.values["kinds"]
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_slopes_are_those_of_the_closed_form():
    """Softmax regression: the slope of the mean loss along a bias is mean(p - y)."""
    model = net(keras.layers.Flatten())
    table = bench(model)
    twin = copies.copy(model, dtype="float64")
    assert {w.dtype for w in twin.weights} == {"float64"}
    images, labels = table.columns["image"], table.columns["label"]
    slopes = gradients.compare_slopes(table.task, table.networks, table.batch(4))
    random = np.random.RandomState(0)  # the same first move as the check's
    kernel, bias = (w.numpy() for w in twin.trainable_variables)
    kernel, bias = (
        w + 0.01 * np.where(w == 0, 1, abs(w)) * random.standard_normal(w.shape)
        for w in (kernel, bias)
    )
    logits = images[:4].reshape(4, -1).astype("float64") @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    exact = (p - np.eye(CLASSES)[labels[:4]]).mean(axis=0)
    found = [slope for slope in slopes if slope.path == "logits/bias"]
    assert len(found) == 6
    for slope in found:
        assert min(abs(exact - slope.backward)) < 1e-12
        assert min(abs(exact - slope.difference)) < 1e-8


def test_first_loss():
    model = net(keras.layers.Flatten())
    assert check.first_loss(bench(model)).verdict == "ok"
    assert check.first_loss(bench(model)).values["zero_outputs"] == pytest.approx(math.log(5))
    svm = check.first_loss(bench(model, "multiclass_svm", first=CLASSES - 1))
    assert svm.verdict == "ok" and svm.values["zero_outputs"] == pytest.approx(4)
    # A loss that is not what it is called, and outputs that are too large.
    assert check.first_loss(bench(model, "multiclass_svm")).verdict == "FAIL"
    assert check.first_loss(bench(net(keras.layers.Flatten(), logits=5))).verdict == "warn"
    huge = check.first_loss(bench(net(keras.layers.Flatten(), logits=100)))
    assert huge.verdict == "FAIL" and huge.values["fresh"] > 20 and "last layer" in huge.remedy


def test_overfits():
    model = net(keras.layers.Flatten(), dense(32, "relu"), keras.layers.Dropout(0.9))
    found = check.overfits(bench(model))
    assert found.verdict == "ok" and found.values["wrong"] == 0 and found.values["examples"] == 20
    constant = net(keras.layers.Flatten(), keras.layers.Rescaling(0.0))
    stuck = check.overfits(bench(constant), num_steps=30)
    # One answer for all is right for the largest class only, 4 of the 18 that 185 weights get.
    assert stuck.verdict == "FAIL" and stuck.values["wrong"] >= 14
    # Without weights to spare it gets fewer examples: 10 weights, 5 outputs.
    few = net(keras.layers.GlobalAveragePooling2D(), logits=1.0)
    assert check.overfits(bench(few), num_steps=1).values["examples"] == 1


def test_dead_layers():
    healthy = net(keras.layers.Flatten(), dense(32, "relu"), dense(32), keras.layers.ReLU())
    assert health.dead(layers_of(healthy)).verdict == "ok"
    model = net(
        keras.layers.Conv2D(4, 3, activation="relu", name="alive"),
        keras.layers.Conv2D(4, 3, bias_initializer=keras.initializers.Constant(-100.0)),
        keras.layers.ReLU(name="asleep"),
    )
    found = health.dead(layers_of(model))
    assert found.verdict == "FAIL" and found.values["asleep"] == 1.0
    assert found.measured.startswith("asleep: 100%") and found.values["alive"] < 0.5
    # Behind it nothing learns, and that is said too.
    assert health.vanishing(layers_of(model)).verdict == "FAIL"


def test_saturated_layers():
    shape = {"shape": (36,)}
    for kind in ("tanh", "sigmoid"):
        healthy = net(dense(32, kind, name="first"), dense(32, kind, name="second"), **shape)
        assert health.saturated(layers_of(healthy)).verdict == "ok"
        model = net(dense(32, kind, name="first"), dense(32, kind, 100, name="second"), **shape)
        found = health.saturated(layers_of(model))
        assert found.verdict == "FAIL" and found.measured.startswith("second")
        assert found.values["first"] < 0.25 < 0.9 < found.values["second"]
    # The paper's tanh reaches 1.7159, and stands at an end beyond 0.95 of that.
    from zoo.layers import ScaledTanh

    model = net(dense(32, None, 100), ScaledTanh(name="squash"), **shape)
    assert health.saturated(layers_of(model)).values["squash"] > 0.9


def test_vanishing_and_exploding_gradients():
    keras.utils.set_random_seed(4)
    deep = net(*(dense(32, "sigmoid", name=f"layer{i}") for i in range(12)), shape=(36,))
    found = health.vanishing(layers_of(deep))
    assert found.verdict == "FAIL" and found.measured.startswith("layer0")
    assert found.values["layer0"] > 1e3 * found.values["layer6"] > 1e3
    assert health.exploding(layers_of(deep)).verdict == "ok"

    loud = net(*(dense(32, "relu", 10, name=f"layer{i}") for i in range(6)), shape=(36,))
    found = health.exploding(layers_of(loud))
    assert found.verdict == "FAIL" and "clip_global_norm" in found.remedy
    assert health.vanishing(layers_of(loud)).verdict == "ok"

    beyond = net(*(dense(32, "relu", 1e9, name=f"layer{i}") for i in range(6)), shape=(36,))
    assert health.exploding(layers_of(beyond)).verdict == "FAIL"

    sound = layers_of(net(*(dense(32, "relu") for _ in range(12)), shape=(36,)))
    assert {health.vanishing(sound).verdict, health.exploding(sound).verdict} == {"ok"}


def test_ratios_by_hand():
    """Softmax regression: the gradient of the kernel is x' (p - y) / n."""
    model = net(keras.layers.Flatten())
    table = bench(model)
    x = table.columns["image"].reshape(32, -1)
    kernel, bias = model.get_weights()
    logits = x @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slope = x.T @ (p - np.eye(CLASSES)[table.columns["label"]]) / len(x)
    (found,) = [layer for layer in layers_of(model) if layer.path == "logits"]
    assert found.ratio == pytest.approx(np.linalg.norm(slope) / np.linalg.norm(kernel), rel=1e-4)
    assert found.std == pytest.approx(logits.std(), rel=1e-4)


def test_a_healthy_model_passes(zoo):
    report = zoo("check", "lenet5", "--data", "digits", "--json")
    found = {finding["name"]: finding for finding in report["checks"]}
    assert {finding["verdict"] for finding in found.values()} == {"ok"}
    names = "cost, first loss, dead, saturated, vanishing, exploding, gradient, overfits"
    assert list(found) == names.split(", ")
    assert found["first loss"]["values"]["closed_form"] == pytest.approx(math.log(10))
    # By hand, as in test_cli.py.
    assert found["cost"]["values"]["macs"] == 28 * 28 * 150 + 100 * 2400 + 48000 + 10080 + 840


KINDS = {
    "unet_small": ["data.limit=40", "settings.width=4", "settings.depth=2"],
    "locator": ["data.limit=40"],
    "vae": ["data.name=digits", "settings.hidden=16", "settings.latent=4"],
    "dcgan_small": ["data.name=digits", "settings.doublings=1", "settings.width=8"],
    "rbm": ["data.name=digits", "settings.hidden=16"],
    "char_gru": ["data.limit=40", "data.size=12", "settings.units=[24]"],
    "a2c": ["environment.copies=4", "environment.frames=256"],
    "dqn": ["environment.frames=512"],
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_learning_is_checked(name):
    """No right gradient is called wrong, whatever is learnt."""
    _, table = check.bench(resolve(name, changes=KINDS[name]))
    found = check.gradient(table, coordinates=2)
    assert found.verdict != "FAIL", found
    assert found.values["error"] < 1e-4 and len(found.values["kinds"]) > 1
    assert math.isfinite(check.first_loss(table).values["fresh"])
    layers = health.layer_health(table.task, table.networks, table.batch(8))
    assert any(layer.std > 0 for layer in layers)


def test_a_failed_check_fails_the_command(zoo, monkeypatch):
    monkeypatch.setattr(check, "QUICK_STEPS", 1)
    lines = zoo("check", "linear", "--data", "digits", "--quick", expect=1).splitlines()
    verdicts = {line[6:16].strip(): line[:4].strip() for line in lines if line[:4] != "imag"}
    assert verdicts["overfits"] == "FAIL" and verdicts["gradient"] == "ok"


@pytest.mark.parametrize(
    ("model", "first"), [("linear_svm", 9.0), ("logistic_regression", math.log(2))]
)
def test_first_losses_of_recipes(model, first):
    data = [] if model == "logistic_regression" else ["data.name=digits"]
    _, table = check.bench(resolve(model, changes=data))
    found = check.first_loss(table)
    assert found.verdict == "ok" and found.values["zero_outputs"] == pytest.approx(first, rel=1e-5)


def test_first_loss_counts_auxiliary_heads_and_no_smoothing(monkeypatch):
    monkeypatch.setattr(runs, "create", lambda name, **options: toy.small(auxiliary=True))
    changes = ["task.auxiliary_weight=0.4", "task.label_smoothing=0.1"]
    _, table = check.bench(resolve("linear", data="digits", changes=changes))
    found = check.first_loss(table)
    assert found.verdict == "ok"
    assert found.values["zero_outputs"] == pytest.approx(1.4 * math.log(10), rel=1e-5)
    assert found.values["closed_form"] == pytest.approx(1.4 * math.log(10))


# The range test.


def test_losses_of_a_sweep_are_those_of_the_batches():
    """At a rate of nearly 0 nothing changes, so a fresh model gives the same losses."""
    recipe = resolve("linear", data="digits", changes=["hardware.precision=float32"])
    found = find_lr.sweep(recipe, low=1e-12, high=1e-11, steps=20)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-12, 1e-11, 20))
    run = Run(recipe)
    model = run.create()["net"]
    logits = model.predict(run.preprocessing.apply(run.data.train["image"]), verbose=0)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    each = -np.log(p[np.arange(len(p)), run.data.train["label"]])
    # 12 batches of 100 are an epoch, less a remainder that differs in each epoch.
    mean, std = float(each.mean()), float(each.std())
    assert found.losses[:12].mean() == pytest.approx(mean, abs=3 * std / 1200**0.5)
    assert found.losses.std() == pytest.approx(std / 10, rel=0.6)
    assert len(set(found.losses.round(6))) == 20


def test_suggestion_of_a_known_curve():
    rates = np.geomspace(1e-6, 10, 150)
    place = np.log10(rates)
    losses = 2.3 - 2 / (1 + np.exp(-4 * (place + 3))) + np.exp(3 * (place + 1))
    test = find_lr.RangeTest(rates, losses, losses)
    assert test.steepest == pytest.approx(1e-3, rel=0.15)
    assert test.lowest == pytest.approx(rates[losses.argmin()])
    assert test.suggestion == pytest.approx(test.lowest / 10, rel=0.05)
    assert test.fell and not find_lr.RangeTest(rates, losses, 0 * losses + 2.3).fell
    np.testing.assert_allclose(find_lr.smoothed(np.full(9, 2.5), 30), 2.5)
    # Half of the weight on the newest: 1, (1 + 2 * 4) / 3, (1 + 2 * 4 + 4 * 7) / 7.
    np.testing.assert_allclose(find_lr.smoothed(np.array([1.0, 4, 7]), 30), [1, 3, 37 / 7])


def test_find_lr(zoo, tmp_path):
    out = tmp_path / "deep" / "sweep"
    command = ("find-lr", "lenet5", "--data", "digits", "--out", out)
    found = zoo(*command, "--json")
    rows = list(csv.DictReader((out / "rates.csv").open()))
    assert len(rows) == found["steps"] < 150  # it stopped when the loss diverged
    assert float(rows[-1]["smoothed_loss"]) > 4 * min(float(r["smoothed_loss"]) for r in rows)
    assert float(rows[1]["learning_rate"]) == pytest.approx(1e-6 * 10 ** (7 / 149))
    assert sorted(path.name for path in out.iterdir()) == ["rates.csv", "rates.png"]
    assert (out / "rates.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in out.parent.iterdir()] == ["sweep"]
    assert "--force" in zoo(*command, expect=2)

    recipe = resolve("lenet5", data="digits", changes=["train.epochs=2"])
    top1 = {}
    for factor in (0.01, 1, 100):
        run = Run(changed(recipe, [f"{RATE}={factor * found['suggestion']!r}"]))
        model = run.create()
        run.train(model)
        top1[factor] = run.evaluate(model, "validation").metrics["top1"]
    assert top1[1] > 0.8 and top1[1] > max(top1[0.01], top1[100]) + 0.2


# Searches. What a trial trains is replaced where the search itself is in question.


@pytest.fixture
def measured(monkeypatch):
    """Replaces the training by a function of the recipe; gives the recipes that came."""
    seen = []

    def measure(recipe, *, objective, num_folds):
        assert (objective, num_folds) == ("top1", 1)
        seen.append(recipe)
        optimizer = recipe.train.optimizer
        return (-((math.log10(optimizer.learning_rate) + 2) ** 2) - optimizer.weight_decay,)

    monkeypatch.setattr(tune, "train_folds", measure)
    return seen


def plan(*ranges, model="linear", changes=TINY, **kwargs):
    recipe = resolve(model, data="digits", changes=changes)
    return Plan(recipe, space.parse(ranges, recipe), **kwargs)


def search(plan, out, **kwargs):
    prepare(out, resume=kwargs.get("resume", False))
    return tune.tune(plan, out, **kwargs)


def rows(out):
    return list(csv.DictReader((out / "trials.csv").open()))


def test_random_search_is_uniform_in_the_logarithm():
    ranges = (f"{RATE}=1e-4:1e-1:log", "train.batch_size=1:64", "train.optimizer.kind=sgd,adamw")
    asked = plan(*ranges)
    study = optuna.create_study()
    drawn = []
    for done in range(300):
        study.sampler = studies.sampler(asked, done=done)
        trial = study.ask()
        drawn.append([studies.draw(trial, axis) for axis in asked.axes])
    rates, sizes, kinds = zip(*drawn, strict=True)
    assert kstest((np.log10(rates) + 4) / 3, "uniform").pvalue > 0.01
    assert kstest(rates, "uniform", (1e-4, 0.1)).pvalue < 1e-6
    assert {type(size) for size in sizes} == {int} and min(sizes) <= 4 and max(sizes) >= 61
    assert 100 < kinds.count("sgd") < 200
    assert abs(np.corrcoef(np.log10(rates), sizes)[0, 1]) < 0.2


def test_a_search_and_its_files(measured, tmp_path):
    asked = plan(f"{RATE}=1e-4:1:log", "train.optimizer.weight_decay=0:1", trials=12)
    found = search(asked, tmp_path / "a")
    assert len(found.trials) == len(measured) == 12
    assert found.best.objective == max(trial.objective for trial in found.trials)
    best = Recipe.read(tmp_path / "a" / "recipe.yaml")
    assert best.train.optimizer.learning_rate == found.best.values[RATE]
    assert best == changed(asked.recipe, space.settings(found.best.values))
    table = rows(tmp_path / "a")
    assert [float(row["top1"]) for row in table] == [trial.objective for trial in found.trials]
    rates = [recipe.train.optimizer.learning_rate for recipe in measured]
    assert [float(row[RATE]) for row in table] == rates
    assert {row["state"] for row in table} == {"complete"}
    names = ["recipe.yaml", "study.db", "trials.csv", "tune.png"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    # The file of Optuna is an ordinary one.
    study = optuna.load_study(study_name=studies.NAME, storage=f"sqlite:///{tmp_path}/a/study.db")
    assert study.best_value == found.best.objective and len(study.trials) == 12
    # More trials go on where it ended, and the same plan from the start draws the same.
    more = search(plan(f"{RATE}=1e-4:1:log", "train.optimizer.weight_decay=0:1", trials=14),
                  tmp_path / "a", resume=True)  # fmt: skip
    assert more.trials[:12] == found.trials and len(more.trials) == 14
    again = search(asked, tmp_path / "b")
    assert [t.values for t in again.trials] == [t.values for t in found.trials]


@pytest.mark.parametrize("kind", ["random", "grid", "tpe"])
def test_an_interrupted_search_ends_like_a_whole_one(kind, measured, tmp_path, monkeypatch):
    ranges = (f"{RATE}=1e-4:1e-1:log", "train.optimizer.weight_decay=0:1")
    asked = plan(*ranges, search=kind, trials=16 if kind == "tpe" else 9)
    whole = search(asked, tmp_path / "whole")
    working, calls = tune.train_folds, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) in (3, 6, asked.num_trials + 2):  # the first, an inner one and the last
            raise KeyboardInterrupt
        return working(*args, **kwargs)

    monkeypatch.setattr(tune, "train_folds", interrupted)
    for turn in range(3):
        with pytest.raises(KeyboardInterrupt):
            search(asked, tmp_path / "torn", resume=turn > 0)
        assert len(rows(tmp_path / "torn")) == (2, 4, asked.num_trials - 1)[turn]
    torn = search(asked, tmp_path / "torn", resume=True)

    def points(found):
        return [tuple(trial.values.values()) for trial in found.trials]

    assert len(torn.trials) == asked.num_trials
    if kind == "grid":
        exact = {(10.0**p, w) for p in (-4, -2.5, -1) for w in (0, 0.5, 1)}
        assert np.array(sorted(points(torn))) == pytest.approx(np.array(sorted(exact)))
        assert sorted(points(torn)) == sorted(points(whole))
    else:
        assert points(torn) == points(whole)
    assert torn.best.values == whole.best.values


def test_a_search_continues_its_own_plan_only(measured, tmp_path, monkeypatch):
    ranges = (f"{RATE}=1e-4:1e-1:log",)
    search(plan(*ranges, trials=1), tmp_path / "a")
    for other, hint in (
        (plan(f"{RATE}=1e-4:1:log"), f"ranges.{RATE}.1: got 1.0; it began with 0.1"),
        (plan("train.batch_size=1:9"), "ranges."),
        (plan(*ranges, folds=3), "folds: got 3; it began with 1"),
        (plan(*ranges, search="tpe"), "search: got 'tpe'; it began with 'random'"),
        (plan(*ranges, changes=["train.epochs=7"]), "recipe."),
    ):
        with pytest.raises(ValueError, match="holds another search") as error:
            search(other, tmp_path / "a", resume=True)
        assert hint in str(error.value)
    assert len(rows(tmp_path / "a")) == 1
    same = plan(*ranges, trials=1)
    known = tune.Run

    def changed(recipe):
        run = known(recipe)
        pixels = run.data.train.columns["image"]
        pixels[0] = 255 - pixels[0]
        return run

    monkeypatch.setattr(tune, "Run", changed)  # as if a file of the data had been edited
    with pytest.raises(ValueError, match=r"another search\. data: got"):
        search(same, tmp_path / "a", resume=True)
    monkeypatch.setattr(tune, "Run", known)
    search(same, tmp_path / "a", resume=True)


def test_what_no_trial_could_do_is_refused_at_once(zoo, tmp_path):
    command = ("tune", "lenet5", "--data", "digits", "--out", tmp_path / "a")
    assert "expected a height and width" in zoo(*command, "--set", "data.size=8", expect=2)
    assert "--folds: got 200" in zoo(*command, "--folds", "200", expect=2)
    assert list((tmp_path / "a").iterdir()) == []


def test_two_keep_apart(measured, tmp_path):
    out, told = tmp_path / "a", []
    prepare(out)

    def second():
        with pytest.raises(BlockingIOError, match="another thread of this process writes there"):
            tune.tune(plan(trials=1), out)
        told.append("refused")

    with claimed(out, mark=""):  # two processes: tests/plain/test_staging.py
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert told == ["refused"]
    tune.tune(plan(trials=1), out, resume=True)


def test_settings_that_do_not_go_together_are_a_failed_trial(measured, tmp_path):
    ranges = ("train.optimizer.clip_norm=null,1.0", "train.optimizer.clip_value=null,1.0")
    found = search(plan(*ranges, search="grid", trials=4), tmp_path / "a")
    failed = [trial for trial in found.trials if trial.objective is None]
    assert len(found.trials) == 4 and len(failed) == 1
    assert "clip" in failed[0].failure and len(measured) == 3


def test_divergence_is_a_failed_trial(zoo, tmp_path):
    """A rate beyond reason, for real: recorded, not hidden, and no best."""
    out = tmp_path / "a"
    train = ("tune", "linear", "--data", "digits", "--set", "train.epochs=1", "--out", out)
    report = zoo(*train, "--range", f"{RATE}=1e38:3e38", "--trials", "1", "--json", expect=1)
    (trial,) = report["trials"]
    assert trial["objective"] is None and "diverged" in trial["failure"] and report["best"] is None
    (row,) = rows(out)
    assert row["state"] == "failed" and row["top1"] == "" and "diverged" in row["failure"]
    assert not (out / "recipe.yaml").exists()


def test_folds():
    run = Run(resolve("linear", data="digits"))
    everything = np.concatenate([run.data.train["image"], run.data.validation["image"]])
    before = run.preprocessing
    parts = list(folds.runs(run, 5))
    assert len(parts) == 5
    seen = np.zeros(0, int)
    for part in parts:
        train, validation = part.data.train, part.data.validation
        assert len(train) + len(validation) == len(everything) == 1437
        shares = np.bincount(validation["label"]) / len(validation)
        np.testing.assert_allclose(shares, np.bincount(train["label"]) / len(train), atol=0.01)
        # No leak: what is measured on the data is measured on this training part.
        assert part.preprocessing == Preprocessing.measure(train["image"])
        mean = train["image"].astype("float64").mean() / 255
        assert part.preprocessing.mean[0] == pytest.approx(mean, rel=1e-9)
        assert part.data.test is run.data.test
        keys = [image.tobytes() for image in validation["image"]]
        seen = np.concatenate([seen, [hash(key) for key in keys]])
    assert sorted(seen) == sorted(hash(image.tobytes()) for image in everything)
    assert len({part.preprocessing.mean for part in parts}) == 5
    assert run.preprocessing is before and len(run.data.train) == 1257
    assert next(iter(folds.runs(run, 1))) is run
    for wrong in (1, 200):
        with pytest.raises(ValueError, match=f"--folds: got {wrong}"):
            next(folds.split(run.data, wrong, seed=0))
    numbers = Run(resolve("linear_regression"))
    parts = list(folds.split(numbers.data, 3, seed=0))
    whole = len(parts[0].train) + len(parts[0].validation)
    assert sum(len(part.validation) for part in parts) == whole


def test_cross_validation_of_a_recipe(zoo, tmp_path, monkeypatch):
    """No range and one trial: the recipe itself, once for each fold; the test split is not read."""
    asked, real = [], Run.evaluate

    def evaluate(self, model, split):
        found = real(self, model, split)
        asked.append((split, len(self.data.train), found.metrics["top1"]))
        return found

    monkeypatch.setattr(Run, "evaluate", evaluate)
    out = tmp_path / "a"
    command = ("tune", "linear", "--data", "digits", "--set", "train.epochs=2", "--out", out)
    report = zoo(*command, "--trials", "1", "--folds", "3", "--json")
    assert [split for split, _, _ in asked] == ["validation"] * 3
    assert [size for _, size, _ in asked] == [958] * 3
    (trial,) = report["trials"]
    values = [top1 for _, _, top1 in asked]
    assert trial["folds"] == values and trial["values"] == {}
    assert trial["objective"] == pytest.approx(np.mean(values))
    assert trial["std"] == pytest.approx(np.std(values, ddof=1))
    assert [float(rows(out)[0][f"fold{n}"]) for n in (1, 2, 3)] == values
    assert Recipe.read(out / "recipe.yaml") == resolve(
        "linear", data="digits", changes=["train.epochs=2"]
    )


@pytest.mark.slow
def test_a_killed_search_resumes(zoo, tmp_path):
    """SIGKILL in the middle of a real search; then the whole of it, beside one never killed."""
    out = tmp_path / "killed"
    command = ["tune", "linear", "--data", "digits", "--set", "train.epochs=2", "--trials", "3"]
    code = "import sys; from zoo.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command, "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    table, end = out / "trials.csv", time.monotonic() + 600
    try:
        while not (table.is_file() and rows(out)):
            assert process.poll() is None, "the search ended before it could be killed"
            assert time.monotonic() < end, "no trial has ended"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = rows(out)
    assert 1 <= len(kept) < 3
    assert "--resume continues it" in zoo(*command, "--out", out, expect=2)
    other = [*command, "--set", "train.epochs=3"]
    assert "another search" in zoo(*other, "--out", out, "--resume", expect=2)
    found = zoo(*command, "--out", out, "--resume", "--json")
    assert rows(out)[: len(kept)] == kept and len(rows(out)) == len(found["trials"]) == 3
    whole = zoo(*command, "--out", tmp_path / "whole", "--json")
    assert [t["values"] for t in found["trials"]] == [t["values"] for t in whole["trials"]]
    scores = [[trial["objective"] for trial in report["trials"]] for report in (found, whole)]
    np.testing.assert_allclose(*scores, atol=0.02)
    # The best one is a recipe that trains, from its file too.
    again = [*command[:1], str(out / "recipe.yaml"), "--trials", "1", "--out", tmp_path / "best"]
    best = zoo(*again, "--json")["best"]
    assert best["objective"] == pytest.approx(found["best"]["objective"], abs=0.02)


MISTAKES = {
    "unknown key": (["tune", "linear", "--range", "train.epoch=1:5"], "Did you mean 'epochs'?"),
    "low above high": (["tune", "linear", "--range", f"{RATE}=1:0.1"], "low below high"),
    "no logarithm": (
        ["tune", "linear", "--range", "train.optimizer.weight_decay=0:1:log"],
        "above 0",
    ),
    "one fold": (["tune", "linear", "--folds", "1"], "--folds: got 1; expected at least 2"),
    "no trial": (["tune", "linear", "--trials", "0"], "--trials: got 0"),
    "small grid": (["tune", "linear", "--search", "grid", "--trials", "3"], "at least 4"),
    "nothing to resume": (["tune", "linear", "--resume"], "no search to resume"),
    "no recipe": (["tune", "nowhere.yaml"], "nowhere.yaml: not found"),
    "no space": (["tune", "linear", "--space", "nowhere.yaml"], "nowhere.yaml: not found"),
    "no model": (["check", "lenet"], "Did you mean"),
    "no data": (["check", "linear", "--data", "digit"], "Did you mean 'digits'?"),
    "no sweep": (["find-lr", "linear", "--low", "1", "--high", "0.1"], "expected 0 < low < high"),
    "few steps": (["find-lr", "linear", "--steps", "5"], "--steps: got 5"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line(mistake, tmp_path, monkeypatch, zoo):
    monkeypatch.chdir(tmp_path)
    arguments, hint = MISTAKES[mistake]
    line = zoo(*arguments, expect=2)
    assert hint in line and "Traceback" not in line and len(line.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
