"""A catalogue model as a good user of plain Keras trains it, to compare the zoo's training with.

Keras' own layers, `model.fit`, arrays in memory through `tf.data`, and Keras' own clipping; where
`compile` has no word for what is learnt, a `train_step` by hand. Both sides have the same networks,
examples, batches, optimizer and measures, and no augmentation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.data.feeds.source import Source
from zoo.recipe import Optimizer
from zoo.tasks.labels.classify import Classify
from zoo.tasks.task import Objective
from zoo.training import optimizer as optimizers
from zoo.training.run import Run
from zoo.training.steps import part, penalties, weighed
from zoo.training.twin import make_twins


class Epochs(keras.callbacks.Callback):
    """Sums up what epochs take, without what `fit` does before and after them."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = self.cpu_seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Looks at the clocks."""
        self._began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks again."""
        self.seconds += time.perf_counter() - self._began[0]
        self.cpu_seconds += time.process_time() - self._began[1]


class Plain:
    """The other side of a comparison.

    Args:
        run: What is trained; its precision is that of the layers.
        networks: Of the zoo, by name; they are copied.
        source: What the zoo trains on, in the order of its examples where it is a data set.
    """

    def __init__(self, run: Run, networks: Mapping[str, keras.Model], source: Source):
        self._source, self._acted = source, run.origin.acted
        self._twins = make_twins(networks, run.machine.precision, replicas=1, fused=False)
        steps = run.recipe.train.epochs * source.steps
        settings = run.recipe.train
        named = {
            one.name: _optimizer(settings.optimizer_of(one.name), steps=steps)
            for one in run.task.objectives()
        }
        columns = {} if self._acted else _arrays(source)
        self._data: tf.data.Dataset | None = None
        self._step: Any = None  # of a loop by hand
        if _is_plain(run, self._twins):
            self._model = next(iter(self._twins.values()))
            self._model.compile(
                next(iter(named.values())),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")],
            )
            name = run.data.input
            self._data = _batched((columns[name], columns["label"]), source)
            return
        self._model = ByHand(run, self._twins, named)
        self._model.compile()
        if not self._acted:
            self._data = _batched(columns, source)

    def turn(self, epochs: int) -> tuple[float, float]:
        """Trains, and returns the seconds and the processor's seconds.

        Args:
            epochs: Passes over the examples.
        """
        if self._acted:
            return self._by_steps(epochs)
        clock = Epochs()
        self._model.fit(self._data, epochs=epochs, verbose=0, callbacks=[clock])
        return clock.seconds, clock.cpu_seconds

    def _by_steps(self, epochs: int) -> tuple[float, float]:
        """A loop by hand: who acts between two steps has no data set to give `fit`."""
        if self._step is None:
            self._step = tf.function(self._model.train_step, autograph=False)
        began = time.perf_counter(), time.process_time()
        strategy = tf.distribute.get_strategy()
        for epoch in range(epochs):
            for batch in self._source.batches(strategy, epoch, networks=self._twins):
                found = self._step(dict(batch))
            float(next(iter(found.values())))
        return time.perf_counter() - began[0], time.process_time() - began[1]


class ByHand(keras.Model):
    """A `train_step` of one's own: a tape, a gradient and a step for each objective in turn.

    Args:
        run: Says what is learnt.
        networks: By name.
        optimizers: One of each objective, by its name.
    """

    def __init__(self, run: Run, networks: Mapping[str, keras.Model], optimizers: Any):
        super().__init__()
        self._task, self._draws = run.task, run.task.draws(networks)
        self._networks, self._by = dict(networks), optimizers
        self._turns = [(one, one.variables(networks)) for one in run.task.objectives()]
        for one, variables in self._turns:
            optimizers[one.name].build(variables)
        self._loss = keras.metrics.Mean(name="loss")
        self._number = tf.Variable(0)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Takes a step of each objective."""
        batch = dict(batch)
        size = tf.shape(next(iter(batch.values())))[0]
        for name, (kind, shape) in self._draws.items():
            if name not in batch:
                batch[name] = _drawn(kind, size, shape)
        batch.setdefault("weight", tf.ones((size,)))
        for one, variables in self._turns:
            for place in range(one.times):
                self._loss.update_state(self._turn(one, variables, part(batch, place, one.parts)))
        self._number.assign_add(1)
        for follow in self._task.follows():
            pairs = zip(
                self._networks[follow.network].weights,
                self._networks[follow.of].weights,
                strict=True,
            )
            turn = self._number % follow.every == 0
            for own, other in pairs:
                own.assign(tf.where(turn, own + follow.share * (other - own), own.value))
        return {"loss": self._loss.result()}

    def _turn(self, one: Objective, variables: list[keras.Variable], batch: Any) -> Any:
        with tf.GradientTape() as tape:
            seen = self._task.look(one.name, self._networks, batch, training=True)
            values, weights = weighed(seen.loss, batch)
            loss = tf.reduce_sum(values * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)
            learns = [self._networks[name] for name in one.learns]
            loss += sum((tf.cast(p, loss.dtype) for p in penalties(learns)), tf.zeros_like(loss))
        slopes = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
        self._by[one.name].apply(slopes, variables)
        return loss


def _optimizer(settings: Optimizer, *, steps: int) -> keras.optimizers.Optimizer:
    """Keras' own, with its own clipping: on one device that is right."""
    made = optimizers.build(settings, steps=steps)
    made.clipvalue, made.clipnorm = settings.clip_value, settings.clip_norm
    made.global_clipnorm = settings.clip_global_norm
    return made


def _is_plain(run: Run, networks: Mapping[str, keras.Model]) -> bool:
    """Whether `compile` has the words: one classifier of one output, by cross-entropy."""
    task = run.task
    if not isinstance(task, Classify) or len(networks) > 1 or task.draws(networks):
        return False
    single = len(keras.tree.flatten(next(iter(networks.values())).output)) == 1
    usual = task == Classify(loss=task.loss) and task.loss == Classify().loss
    return single and usual


def _arrays(source: Source) -> dict[str, np.ndarray]:
    """The examples of an epoch, preprocessed, in memory."""
    parts: list[Mapping[str, Any]] = list(_first_epoch(source))
    return {
        name: np.concatenate([one[name].numpy() for one in parts])
        for name in parts[0]
        if name != "weight"
    }


def _first_epoch(source: Source) -> Iterator[Mapping[str, Any]]:
    yield from source.batches(tf.distribute.get_strategy(), 0)


def _batched(columns: Any, source: Source) -> tf.data.Dataset:
    made = tf.data.Dataset.from_tensor_slices(columns).shuffle(source.steps * source.batch_size)
    return made.batch(source.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _drawn(kind: str, size: Any, shape: tuple[int, ...]) -> Any:
    if kind == "place":
        return tf.one_hot(tf.range(size) % shape[0], shape[0])
    draw = tf.random.normal if kind == "normal" else tf.random.uniform
    return draw((size, *shape))
