"""A net that trains in a moment on real digits, for the tests of training."""

import os
import signal

import keras
import numpy as np
import tensorflow as tf

from tests.programs import printed  # noqa: F401
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.models.saved import load_model
from zoo.recipe import Hardware, Optimizer, Train
from zoo.tasks.labels.classify import Classify
from zoo.training import strategy
from zoo.training.fitting import fit
from zoo.training.trainer import Trainer

DATA = load("digits", limit=640)
SCALE = Preprocessing.measure(DATA.train["image"])


def small(*, dropout=0.0, batch_norm=False, auxiliary=False, seed=0):
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((8, 8, 1), name="image")
    # Without a bias before the normalisation: its gradient is rounding noise, which Adam scales up.
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=not batch_norm, name="conv")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="conv_bn")(x)
    x = side = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dropout(dropout, name="drop")(x)
    logits = keras.layers.Dense(10, name="logits")(x)
    if not auxiliary:
        return keras.Model(image, logits, name="small")
    side = keras.layers.GlobalAveragePooling2D(name="side_pool")(side)
    side = keras.layers.Dense(10, name="side_logits")(side)
    return keras.Model(image, {"logits": logits, "auxiliary": side}, name="small")


def feed(batch_size=64, **settings):
    return Feed(DATA.train, {"image": SCALE}, batch_size=batch_size, training=True, **settings)


def validation():
    return Feed(DATA.validation, {"image": SCALE}, batch_size=50)


def settings(epochs=2, transfer=None, regularize=None, **optimizer):
    values = {"kind": "sgd", "learning_rate": 0.05, "schedule": "constant"} | optimizer
    return Train(
        epochs=epochs,
        batch_size=64,
        optimizer=Optimizer(**values),
        transfer=transfer or {},
        regularize=regularize or {},
    )


def train(model, train_settings, *, hardware=None, batches=None, task=None, **options):
    machine = strategy.choose_machine(hardware or Hardware(precision="float32", strategy="one"))
    trainer = Trainer(model, task or Classify(), train_settings, machine)
    return trainer.fit(batches or feed(), **options)


def difference(one, other):
    """The largest difference between the weights of two models, or of two sets of them by name."""
    if isinstance(one, dict):
        return max(difference(one[name], other[name]) for name in one)
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def resumed(make, train, snapshot, *, step, losses=("loss",)):
    """A run that is stopped at a step and resumed ends as a whole one, whose history is returned.

    Args:
        make: Gives networks of a seed.
        train: Trains them, with the further options that it is given.
        snapshot: File to go on from.
        step: Where Ctrl-C is pressed.
        losses: Columns of the history that are the same too.
    """
    whole, stopped, again = make(0), make(0), make(7)
    reference = train(whole)
    assert train(stopped, snapshot=snapshot, callbacks=[interrupt(step)]).interrupted
    assert difference(whole, stopped) > 0
    second = train(again, snapshot=snapshot, resume=True)
    assert difference(whole, again) == 0.0
    for name in losses:
        assert [row[name] for row in second.rows] == [row[name] for row in reference.rows]
    return reference


def check_resumed(whole, out, *, changes, stop_at, data=None):
    """A run that is stopped and resumed comes to what one comes to that nothing stopped."""
    name = whole.card.architecture
    options = {"changes": changes, "data": data}
    part = fit(name, out=out, callbacks=[interrupt(stop_at)], **options)
    assert part.report.status == "interrupted"
    assert difference(load_model(whole.path), load_model(part.path)) > 0
    resumed = fit(name, out=out, resume=True)
    assert resumed.report.status == "complete"
    assert difference(load_model(whole.path), load_model(resumed.path)) == 0.0
    assert resumed.report.metrics == whole.report.metrics


def interrupt(step):
    """Presses Ctrl-C after a number of steps."""
    seen = []

    def press(batch, logs):
        seen.append(batch)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGINT)

    return keras.callbacks.LambdaCallback(on_train_batch_end=press)


def descend(model, optimizer, *, steps=20, change=lambda gradients: gradients, penalty=None):
    """A plain loop over the batches that the trainer sees, in order."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batches = (batch for epoch in range(2) for batch in feed().dataset(epoch))
    for _, batch in zip(range(steps), batches, strict=False):
        with tf.GradientTape() as tape:
            total = loss(batch["label"], model(batch["image"], training=True))
            total += penalty(model) if penalty else 0.0
        weights = [variable.value for variable in model.trainable_variables]
        optimizer.apply(change(tape.gradient(total, weights)), model.trainable_variables)
    return model
