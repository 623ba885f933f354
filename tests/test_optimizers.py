"""Optimizers, schedules, clipping, averages and penalties, against Keras and closed forms."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toy import DATA, SCALE, difference, feed, settings, small, train, validation
from zoo.recipe import Optimizer, Recipe, Regularize, Train
from zoo.training import optimizer as optimizers
from zoo.training.history import DivergedError
from zoo.training.regularize import regularize

ROOT = Path(__file__).parents[1]
KERAS = keras.optimizers
# Written out as a user of Keras would, from the same words of the recipe.
PLAIN = {
    "adamw": lambda rate: KERAS.AdamW(rate, weight_decay=0.0),
    "adam": lambda rate: KERAS.Adam(rate),
    "sgd": lambda rate: KERAS.SGD(rate, momentum=0.9),
    "sgd nesterov": lambda rate: KERAS.SGD(rate, momentum=0.8, nesterov=True),
    "adagrad": lambda rate: KERAS.Adagrad(rate),
    "rmsprop": lambda rate: KERAS.RMSprop(rate, momentum=0.9),
}


def descend(model, optimizer, *, steps=20, change=lambda gradients: gradients, penalty=None):
    """A plain loop over the batches that the trainer sees, in order."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batches = (batch for epoch in range(2) for batch in feed().dataset(epoch))
    for _, (images, labels, _) in zip(range(steps), batches, strict=False):
        with tf.GradientTape() as tape:
            total = loss(labels, model(images, training=True))
            total += penalty(model) if penalty else 0.0
        weights = [variable.value for variable in model.trainable_variables]
        optimizer.apply(change(tape.gradient(total, weights)), model.trainable_variables)
    return model


def kernels(model):
    return [model.get_layer(name).kernel.value for name in ("conv", "logits")]


# Optimizers


@pytest.mark.oracle
@pytest.mark.parametrize("name", PLAIN)
def test_takes_the_steps_of_keras(name):
    kind, *nesterov = name.split()
    options = {"nesterov": True, "momentum": 0.8} if nesterov else {}
    ours = small()
    train(ours, settings(kind=kind, learning_rate=0.003, **options))
    theirs = descend(small(), PLAIN[name](0.003))
    assert difference(ours, small()) > 1e-3
    assert difference(ours, theirs) < 2e-5


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "adagrad", "rmsprop"])
def test_decay_is_decoupled_and_spares_biases(kind):
    model = small(batch_norm=True)
    for weight in model.trainable_variables:
        weight.assign(np.ones(weight.shape))
    chosen = Optimizer(kind=kind, learning_rate=0.1, weight_decay=0.5, schedule="constant")
    optimizer = optimizers.build(chosen, steps=1)
    zeros = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    for weight in model.trainable_variables:
        expected = 0.95 if weight.name == "kernel" else 1.0
        np.testing.assert_allclose(weight, expected, rtol=1e-6, err_msg=weight.path)


def test_lbfgs_takes_no_steps():
    with pytest.raises(ValueError, match="lbfgs"):
        optimizers.build(Optimizer(kind="lbfgs"), steps=10)


# Schedules


def rates(steps=100, **values):
    schedule = optimizers.build(Optimizer(learning_rate=0.4, **values), steps=steps)._learning_rate
    return lambda *at: [float(schedule(step)) for step in at]


def test_cosine_warms_up_and_falls_to_zero():
    at = rates(warmup=0.1)
    np.testing.assert_allclose(at(0, 5, 10, 55, 100), [0, 0.2, 0.4, 0.2, 0], atol=1e-6)
    oracle = KERAS.schedules.CosineDecay(0.0, 90, warmup_target=0.4, warmup_steps=10)
    every = range(0, 101, 7)
    np.testing.assert_allclose(at(*every), [float(oracle(step)) for step in every], atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "plateau", "divide"])
def test_rate_stays_where_the_run_decides(schedule):
    at = rates(warmup=0.1, schedule=schedule)
    np.testing.assert_allclose(at(0, 5, 10, 100), [0, 0.2, 0.4, 0.4], rtol=1e-6)


def test_step_schedule():
    at = rates(schedule="step", milestones=(0.5, 0.75), factor=0.2)
    np.testing.assert_allclose(at(0, 49), 0.4, rtol=1e-6)
    np.testing.assert_allclose(at(50, 74), 0.08, rtol=1e-6)
    np.testing.assert_allclose(at(75, 99), 0.016, rtol=1e-6)
    assert rates(schedule="step", warmup=0.1)(5)[0] == pytest.approx(0.2)


def test_cyclic_schedule():
    """Huang et al., equation 2, whose steps count from 1."""

    def paper(step, total=100, cycles=4):
        length = math.ceil(total / cycles)
        return 0.4 / 2 * (math.cos(math.pi * ((step - 1) % length) / length) + 1)

    every = range(100)
    expected = [paper(step + 1) for step in every]
    np.testing.assert_allclose(rates(schedule="cyclic", cycles=4)(*every), expected, atol=1e-6)
    warm = rates(schedule="cyclic", cycles=4, warmup=0.1)
    np.testing.assert_allclose(warm(0, 5, 10, 17.5, 25), [0, 0.2, 0.4, 0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(warm(*every[25:]), expected[25:], atol=1e-6)


def test_history_tells_the_rate_of_the_last_step():
    history = train(small(), settings(epochs=4, schedule="cyclic", cycles=2, learning_rate=0.1))
    expected = [0.05 * (math.cos(math.pi * step / 20) + 1) for step in (9, 19, 9, 19)]
    found = [row["learning_rate"] for row in history.rows]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


PLATEAU = {"schedule": "plateau", "patience": 1, "factor": 0.5, "learning_rate": 0.9}


def test_plateau_lowers_the_rate_when_the_validation_stalls():
    history = train(small(), settings(epochs=8, **PLATEAU), validation=validation())
    best, waited, rate = math.inf, 0, 0.9
    for row in history.rows:  # with patience 1, every epoch that is not the best halves the rate
        assert row["learning_rate"] == pytest.approx(rate)
        best, lower = min(best, row["val_loss"]), row["val_loss"] < best
        rate, waited = (rate, waited) if lower else (rate / 2, waited + 1)
    assert 0 < waited < 7
    with pytest.raises(ValueError, match="validation"):
        train(small(), settings(**PLATEAU))


@pytest.mark.parametrize("stop_at", [35, 40])
def test_plateau_resumes_exactly(tmp_path, stop_at):
    whole, resumed, snapshot = small(), small(seed=3), tmp_path / "snapshot.npz"
    chosen = settings(epochs=8, **PLATEAU | {"patience": 2})
    reference = train(whole, chosen, validation=validation())
    assert reference.rows[-1]["learning_rate"] < 0.9
    first = train(
        small(), chosen, validation=validation(), callbacks=[interrupt(stop_at)], snapshot=snapshot
    )
    assert first.interrupted
    second = train(resumed, chosen, validation=validation(), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    for key in ("learning_rate", "loss", "val_loss"):
        assert [row[key] for row in second.rows] == [row[key] for row in reference.rows]


def interrupt(step):
    """Presses Ctrl-C after a number of steps."""
    seen = []

    def press(batch, logs):
        seen.append(batch)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGINT)

    return keras.callbacks.LambdaCallback(on_train_batch_end=press)


# Divide until it stops diverging

DIVIDE = {"schedule": "divide", "learning_rate": 1e3, "factor": 0.1}


def test_divide_recovers_from_a_rate_that_is_far_too_large(caplog):
    model = small(batch_norm=True, dropout=0.3)
    with caplog.at_level("INFO", logger="zoo"):
        history = train(model, settings(epochs=3, **DIVIDE), validation=validation())
    told = [record.message for record in caplog.records if "diverged" in record.message]
    assert 2 <= len(told) <= 8 and "at the rate 100" in told[0]
    rate = 1e3 * 0.1 ** len(told)
    assert [row["learning_rate"] for row in history.rows] == pytest.approx([rate] * 3)
    assert history.epochs == 3 and history.rows[-1]["val_top1"] > 0.6
    # It is the run that starts with that rate.
    plain = small(batch_norm=True, dropout=0.3)
    reference = train(plain, settings(epochs=3, **DIVIDE | {"learning_rate": rate}))
    assert [row["loss"] for row in history.rows] == pytest.approx(
        [row["loss"] for row in reference.rows], rel=1e-4
    )


def test_divide_gives_up():
    with pytest.raises(DivergedError, match="every rate from 1e\\+30 down to 1e\\+22"):
        train(small(), settings(**DIVIDE | {"learning_rate": 1e30}))


def test_divide_resumes_exactly_within_its_search(tmp_path):
    whole, resumed, snapshot = small(), small(seed=3), tmp_path / "snapshot.npz"
    chosen = settings(epochs=2, **DIVIDE)
    reference = train(whole, chosen)
    first = train(small(), chosen, callbacks=[interrupt(10)], snapshot=snapshot)
    assert first.interrupted and not first.rows
    second = train(resumed, chosen, snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    assert [row["loss"] for row in second.rows] == [row["loss"] for row in reference.rows]


# Clipping


def clipped(gradients, key, largest):
    """By the formulas of the recipe's words, in NumPy."""
    gradients = [np.asarray(gradient) for gradient in gradients]
    if key == "clip_value":
        return [np.clip(gradient, -largest, largest) for gradient in gradients]
    norms = [np.sqrt((gradient**2).sum()) for gradient in gradients]
    if key == "clip_global_norm":
        norms = [np.sqrt(sum(norm**2 for norm in norms))] * len(norms)
    return [g * min(1, largest / norm) for g, norm in zip(gradients, norms, strict=True)]


@pytest.mark.parametrize(
    ("key", "largest"), [("clip_value", 0.003), ("clip_norm", 0.05), ("clip_global_norm", 0.1)]
)
def test_clips(key, largest):
    ours = small()
    train(ours, settings(**{key: largest}))
    seen = []

    def change(gradients):
        cut = clipped(gradients, key, largest)
        seen.append(max(np.abs(a - b).max() for a, b in zip(gradients, cut, strict=True)))
        return cut

    theirs = descend(small(), KERAS.SGD(0.05, momentum=0.9), change=change)
    assert min(seen) > 1e-4  # every step was cut
    assert difference(ours, theirs) < 2e-5


# Averages


def test_moving_average_is_validated_and_saved():
    model, momentum = small(batch_norm=True), 0.8
    ends = []

    def note(batch, logs):
        ends.append([v.numpy() for v in callback.model.trainable_variables])

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    chosen = settings(epochs=2, ema=momentum)
    history = train(model, chosen, validation=validation(), callbacks=[callback])
    average = ends[0]
    for end in ends[1:]:
        pairs = zip(average, end, strict=True)
        average = [momentum * mean + (1 - momentum) * value for mean, value in pairs]
    for found, expected in zip(model.trainable_variables, average, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=found.path)
    assert max(np.abs(a - b).max() for a, b in zip(average, ends[-1], strict=True)) > 1e-3
    raw = small(batch_norm=True)
    train(raw, settings(epochs=2))  # the average does not change the path
    assert max(np.abs(a - b).max() for a, b in zip(ends[-1], trainable(raw), strict=True)) < 1e-5
    images, labels = SCALE.apply(DATA.validation.images), DATA.validation.labels
    right = np.mean(model.predict(images, verbose=0).argmax(axis=1) == labels)
    assert history.rows[-1]["val_top1"] == pytest.approx(right)


def trainable(model):
    return [variable.numpy() for variable in model.trainable_variables]


def test_moving_average_resumes_exactly(tmp_path):
    chosen, snapshot = settings(epochs=2, ema=0.9, kind="adam"), tmp_path / "snapshot.npz"
    whole = small(dropout=0.5)  # the twin draws its seed when the training begins
    train(whole, chosen, validation=validation())
    train(small(dropout=0.5), chosen, callbacks=[interrupt(10)], snapshot=snapshot)
    resumed = small(dropout=0.5, seed=3)
    train(resumed, chosen, validation=validation(), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0


def test_early_stopping_brings_back_the_average_that_it_saw():
    model = small()
    given = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=1, min_delta=100, restore_best_weights=True
    )
    once = small()
    train(once, settings(epochs=1, ema=0.9), validation=validation())
    train(model, settings(epochs=5, ema=0.9), validation=validation(), callbacks=[given])
    assert difference(model, once) == 0.0


# Penalties and bounds


def test_elastic_net_has_the_gradient_of_its_formula():
    l1, l2 = 0.002, 0.003
    ours = small(batch_norm=True)
    history = train(ours, settings(regularize={"l1": l1, "l2": l2}))

    def change(model):
        def add(gradients):
            pairs = zip(gradients, model.trainable_variables, strict=True)
            return [
                g + (l1 * np.sign(w) + 2 * l2 * w.numpy() if w.name == "kernel" else 0)
                for g, w in pairs
            ]

        return add

    theirs = small(batch_norm=True)
    descend(theirs, KERAS.SGD(0.05, momentum=0.9), change=change(theirs))
    assert difference(ours, theirs) < 1e-5
    free = small(batch_norm=True)
    plain = train(free, settings())
    assert difference(ours, free) > 1e-3
    # The loss that is told is the data's; on the first step both have the same weights.
    assert history.rows[0]["loss"] == pytest.approx(plain.rows[0]["loss"], rel=0.1)
    for layer in ours.layers:
        for weight in layer.weights:
            assert weight.regularizer is None and weight.constraint is None


def test_max_norm_holds_after_training():
    chosen = settings(learning_rate=0.3, regularize={"max_norm": 0.4}, ema=0.5)
    bound, free = small(), small()
    train(bound, chosen)
    train(free, settings(learning_rate=0.3, ema=0.5))
    for name, axes in (("conv", (0, 1, 2)), ("logits", (0,))):
        norms, others = (
            np.sqrt((model.get_layer(name).kernel.numpy() ** 2).sum(axis=axes))
            for model in (bound, free)
        )
        assert norms.max() < 0.4 + 1e-5 and others.max() > 0.5, name
        assert norms.max() > 0.39, name  # it is a bound, not a value for all


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (keras.layers.Dense(5), (0,)),
        (keras.layers.Conv2D(5, 3), (0, 1, 2)),
        (keras.layers.Conv2D(6, 3, groups=2), (0, 1, 2)),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (0, 1)),
        (keras.layers.Conv2DTranspose(5, 3), (0, 1, 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bound_is_that_of_the_weights_into_one_unit(layer, axes):
    """What one output depends on: the weights that have a gradient there."""
    model = keras.Sequential([keras.Input((7, 7, 4)), layer])
    regularize(model, Regularize(max_norm=1.0))
    random = np.random.RandomState(0)
    layer.kernel.assign(random.normal(size=layer.kernel.shape) + 3.0)
    layer.kernel.assign(layer.kernel.constraint(layer.kernel))
    norms = np.sqrt((layer.kernel.numpy() ** 2).sum(axis=axes))
    np.testing.assert_allclose(norms, 1.0, rtol=1e-4)
    images = tf.constant(random.normal(size=(1, 7, 7, 4)), "float32")
    with tf.GradientTape() as tape:
        unit = tf.reduce_sum(layer(images)[..., 1])
    used = tape.gradient(unit, layer.kernel.value).numpy() != 0
    others = tuple(axis for axis in range(used.ndim) if axis not in axes)
    whole = used.all(axis=axes) == used.any(axis=axes)  # all or none of a unit's weights
    assert whole.all() and used.any(axis=axes).sum() == 1 and len(others) >= 1


# What makes no sense


@pytest.mark.parametrize(
    ("group", "values", "match"),
    [
        (Optimizer, {"clip_value": 1, "clip_norm": 1}, r"\.clip_norm: .*beside clip_value"),
        (Optimizer, {"nesterov": True}, r"\.nesterov: .*sgd"),
        (Optimizer, {"schedule": "cyclic", "warmup": 0.3}, r"\.warmup: .*less than 0\.2"),
        (Optimizer, {"kind": "lbfgs", "weight_decay": 0.1}, r"\.weight_decay: .*l2"),
        (Optimizer, {"kind": "lbfgs", "ema": 0.9}, r"\.ema: .*expected none"),
        (Train, {"epochs": 7, "optimizer": {"schedule": "cyclic"}}, r"\.cycles: got 5 in 7"),
        (Train, {"transfer": {"frozen_epochs": 2}}, r"\.transfer: .*without weights"),
        (Train, {"transfer": {"frozen_epochs": 10, "weights": "imagenet"}}, "less than"),
        (Train, {"optimizer": {"kind": "lbfgs"}, "regularize": {"l1": 0.1}}, r"\.l1: .*gradient"),
        (
            Recipe,
            {"train": {"optimizer": {"kind": "lbfgs"}}, "data": {"augment": {"shift": 1}}},
            r"\.data\.augment: .*one fixed function",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(group, values, match):
    with pytest.raises(ValueError, match=match):
        group(**values | ({"model": "linear"} if group is Recipe else {}))


def test_training_on_drops_what_belongs_to_a_fresh_start():
    chosen = settings(
        epochs=6, schedule="cyclic", cycles=3, ema=0.9,
        transfer={"weights": "imagenet", "frozen_epochs": 3},
    ).further(2)  # fmt: skip
    assert Train(**chosen.model_dump()) == chosen
    assert (chosen.epochs, chosen.optimizer.schedule, chosen.optimizer.ema) == (2, "cosine", None)
    assert chosen.transfer.frozen_epochs == 0 and chosen.transfer.weights is None
    assert settings(kind="lbfgs").further(2).optimizer.kind == "adamw"


TWO_DEVICES = """
    import json
    from tests.toy import *
    from zoo.training.strategy import choose

    two = choose(Hardware(strategy="mirrored", devices=2, precision="float32"))
    one = choose(Hardware(strategy="one", precision="float32"))
    cases = {
        "value, adagrad": {"clip_value": 0.003, "kind": "adagrad"},
        "norm, rmsprop": {"clip_norm": 0.05, "kind": "rmsprop", "learning_rate": 0.001},
        "global norm, nesterov": {"clip_global_norm": 0.1, "nesterov": True},
        "average, plateau": {"ema": 0.9, "schedule": "plateau"},
        "penalty": {"regularize": {"l1": 0.002, "l2": 0.003}},
        "bound": {"regularize": {"max_norm": 0.4}, "ema": 0.5, "learning_rate": 0.3},
        "divide": {"schedule": "divide", "learning_rate": 1e3},
        "frozen": {"transfer": {"weights": "imagenet", "frozen_epochs": 1, "unfreeze": 0.5}},
        "heads": {"auxiliary": True},
    }
    found = {}
    for name, values in cases.items():
        values = dict(values)
        heads = values.pop("auxiliary", False)
        models, rows = [], []
        for machine in (one, two):
            model = small(auxiliary=heads)
            trainer = Trainer(model, Classify(10), settings(**values), machine)
            history = trainer.fit(feed(), validation())
            models.append(model)
            rows.append([[row["loss"], row["val_loss"]] for row in history.rows])
        found[name] = [
            difference(*models), float(np.abs(np.subtract(*rows)).max()),
            difference(models[1], small(auxiliary=heads)),
        ]
    print(json.dumps(found))
"""


@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    """In a process of its own: TensorFlow splits the CPU only before its first operation."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TWO_DEVICES)],
        capture_output=True, text=True, cwd=ROOT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for case, (weights, losses, way) in json.loads(done.stdout.splitlines()[-1]).items():
        assert weights < 1e-5 and losses < 1e-4 and way > 1e-3, f"{case}: {weights} {losses} {way}"
