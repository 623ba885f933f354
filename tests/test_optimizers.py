"""Optimizers, clipping and averages, against Keras and closed forms; one device against two."""

import keras
import numpy as np
import pytest

from tests import toy
from tests.toy import (
    DATA,
    SCALE,
    descend,
    difference,
    interrupt,
    settings,
    small,
    train,
    validation,
)
from zoo.recipe import Optimizer
from zoo.training import optimizer as optimizers

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
    images, labels = SCALE.apply(DATA.validation["image"]), DATA.validation["label"]
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


TWO_DEVICES = """
    import json
    from tests.toy import *
    from zoo.training.strategy import choose_machine

    two = choose_machine(Hardware(strategy="mirrored", devices=2, precision="float32"))
    one = choose_machine(Hardware(strategy="one", precision="float32"))
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
            trainer = Trainer(model, Classify(), settings(**values), machine)
            history = trainer.fit(feed(), validation())
            models.append(model)
            rows.append([[row["loss"], row["val_loss"]] for row in history.rows])
        found[name] = [
            difference(*models), float(np.abs(np.subtract(*rows)).max()),
            difference(models[1], small(auxiliary=heads)),
        ]
    print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    """In a process of its own: TensorFlow splits the CPU only before its first operation."""
    for case, (weights, losses, way) in toy.printed(TWO_DEVICES).items():
        assert weights < 1e-5 and losses < 1e-4 and way > 1e-3, f"{case}: {weights} {losses} {way}"
