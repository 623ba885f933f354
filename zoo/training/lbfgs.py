"""L-BFGS: full-batch training of any Keras model through SciPy.

Source: Liu & Nocedal 1989, Math. Programming 45; the code is SciPy's L-BFGS-B without bounds. The
objective is the mean loss over all training images, plus the l2 penalty; the vector outside is
float64, the model inside float32 (the noise of bfloat16 would break the line search).

The method takes the objective for one fixed smooth function, so a model that draws random numbers
or normalises by the batch is refused. `train.epochs` is the largest number of iterations; there are
fewer where it converges. An unfinished run is resumed from its best point, with an empty memory of
past steps: it ends as low, but not on the same path.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import OptimizeResult, minimize

from compress.graph import leaf_layers
from zoo.data.feeds.source import Source
from zoo.recipe import Train
from zoo.tasks.task import Task, named
from zoo.training import steps, transfer
from zoo.training.callbacks.calls import Calls
from zoo.training.history import DivergedError, History, Means, Sums, logs_of
from zoo.training.regularize import regularize
from zoo.training.signals import StopRequest, Terminated, stop_request
from zoo.training.snapshot import Snapshot, progress
from zoo.training.strategy import Machine
from zoo.training.twin import copy_weights, make_twin

MEMORY = 10  # pairs of steps and gradients
# Below these, float32 gives noise: the decrease of the objective by one iteration relative to it,
# and the largest element of the gradient.
SMALLEST_DECREASE, SMALLEST_GRADIENT = 1e-9, 1e-6
SNAPSHOT_SECONDS = 60.0
LOG = logging.getLogger("zoo")


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Somebody asked the training to stop."""


def fit(
    model: keras.Model,
    task: Task,
    settings: Train,
    machine: Machine,
    source: Source,
    validation: Source | None = None,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    snapshot: Path | None = None,
    resume: bool = False,
) -> History:
    """Trains until it converges, the last iteration, a callback's stop, Ctrl-C or SIGTERM.

    Args:
        model: Functional, plain Keras, float32. Its weights are changed at the end.
        task: What is minimised and measured.
        settings: How long, and towards what.
        machine: Where it runs; its precision does not count.
        source: All training examples, in order.
        validation: Measured after every iteration.
        callbacks: Keras callbacks, see `Trainer.fit`; an iteration is an epoch of one step.
        snapshot: File for the best point so far; `None` keeps none.
        resume: Whether to start from `snapshot`.

    Raises:
        DivergedError: The loss is not a number.
        Terminated: SIGTERM asked it to stop; the snapshot is written.
        ValueError: A layer makes the objective another one in every step, or there are several
            workers.
    """
    if machine.worker is not None:
        raise ValueError(
            f"train.optimizer.kind: got lbfgs with {len(machine.worker.addresses)} workers; "
            "expected one process. Take adam, or write hardware.strategy=one."
        )
    with machine.strategy.scope():
        twin = make_twin(model, "float32", replicas=1)
    regularize(twin, settings.regularize)
    check_deterministic(twin, transfer.freeze(twin, settings.transfer.unfreeze))
    search = _Search(twin, task, settings, machine, source, validation)
    search.state = Snapshot(snapshot, twin.variables, ["lbfgs"])
    if resume:
        search.state.restore()
        saved = progress(snapshot)
        search.history = History(**saved["history"])
        search.finished = saved.get("finished", False)
    with stop_request() as stop:
        search.run(callbacks, stop)
    copy_weights(twin, model)
    if stop.terminated:
        raise Terminated
    return search.history


def check_deterministic(model: keras.Model, frozen: Sequence[keras.layers.Layer] = ()) -> None:
    """Refuses a model whose loss is another function in every step.

    Args:
        model: The model that would be trained.
        frozen: Layers that compute as in inference.

    Raises:
        ValueError: A layer draws random numbers, or normalises by the batch.
    """
    for _, layer in leaf_layers(model):
        if layer in frozen:
            continue
        seeds = len(layer.variables) > len(layer.weights)  # states of random generators
        if seeds:
            why = "draws random numbers"
        elif isinstance(layer, keras.layers.BatchNormalization):
            why = "normalises by the statistics of a batch"
        else:
            continue
        raise ValueError(
            f"lbfgs: got a model with the layer {layer.name!r}, which {why}; expected none: L-BFGS "
            "minimises one fixed function of the weights. Leave the layer out, e.g. with "
            "settings.dropout=0 or batch_norm=false, or take another train.optimizer.kind."
        )


class _Search:
    """The objective, and what happens around its minimisation."""

    state: Snapshot

    def __init__(
        self,
        twin: keras.Model,
        task: Task,
        settings: Train,
        machine: Machine,
        source: Source,
        validation: Source | None,
    ):
        self.twin, self.settings, self.machine = twin, settings, machine
        self.source, self.validation = source, validation
        self.variables = twin.trainable_variables
        self.history, self.finished = History(), False
        self.step = self._step(task)
        self.test_step = steps.test_step({"net": twin}, task, machine)

    def run(self, callbacks: Sequence[keras.callbacks.Callback], stop: StopRequest) -> None:
        """Minimises from the present weights on, and leaves the best ones."""
        left = self.settings.epochs - self.history.epochs
        self.twin.compile()
        networks = {"net": self.twin}
        self.calls = Calls(
            callbacks, self.twin, epochs=self.settings.epochs, steps=1, networks=networks
        )
        self.stop = stop
        self.twin.stop_training = False
        self.calls.train_begin()
        self.best = self.seen = self.point()
        self.began, self.saved_at = time.perf_counter(), time.monotonic()
        options = {
            "maxiter": left, "maxfun": 10**9, "maxcor": MEMORY,
            "ftol": SMALLEST_DECREASE, "gtol": SMALLEST_GRADIENT,
        }  # fmt: skip
        if left > 0 and not self.finished:
            try:
                found = minimize(
                    self.evaluate, self.best, jac=True, method="L-BFGS-B",
                    callback=self.end_iteration, options=options,
                )  # fmt: skip
                self.best = found.x
                LOG.info("L-BFGS: %d iterations; %s", found.nit, found.message)
            except _Stopped:
                pass
            except Exception:
                if self.calls.failed:  # the iterations before are not lost
                    self.state.save({"history": vars(self.history)})
                raise
        self.assign(self.best)
        self.history.interrupted = stop.requested and self.history.epochs < self.settings.epochs
        self.finished = not self.history.interrupted
        self.state.save({"history": vars(self.history), "finished": self.finished})
        rows = self.history.rows
        self.calls.train_end(logs_of(rows[-1]) if rows else {})

    def evaluate(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the objective and its gradient (weights,), float64.

        Raises:
            DivergedError: The objective is not a number.
        """
        self.assign(point)
        self.seen, self.sums = point.copy(), Sums()
        value, gradient = 0.0, np.zeros_like(point)
        count = 0.0
        for batch in self.source.batches(self.machine.strategy):
            if self.stop.requested:
                raise _Stopped
            part, slope, weight, sums = self.step(batch)
            value += float(part * weight)
            gradient += slope.numpy() * float(weight)
            count += float(weight)
            self.sums.add(sums)
        self.history.images += round(count)
        if not math.isfinite(value):
            raise DivergedError(
                f"training diverged: L-BFGS met the loss {value / count}; expected a number. "
                "Set train.regularize.l2, or take another train.optimizer.kind."
            )
        return value / count, gradient / count

    def end_iteration(self, intermediate_result: OptimizeResult) -> None:
        """Measures the point that the iteration ends at, and writes its row."""
        if not np.array_equal(intermediate_result.x, self.seen):
            self.evaluate(intermediate_result.x)
        self.best = self.seen
        seconds, epoch = time.perf_counter() - self.began, self.history.epochs
        means = self.sums.means()
        row = {"epoch": epoch + 1, "seconds": seconds, "objective": intermediate_result.fun} | means
        self.calls.epoch_begin(epoch)
        self.calls.batch_begin(0)
        self.calls.batch_end(0, Means(self.sums))
        if self.validation is not None and not self.stop.requested:
            found = Sums()
            for batch in self.validation.batches(self.machine.strategy):
                found.add(self.test_step(batch))
            row |= {f"val_{name}": value for name, value in found.means().items()}
        self.history.rows.append(row)
        self.history.epochs, self.history.seconds = epoch + 1, self.history.seconds + seconds
        self.calls.epoch_end(epoch, logs_of(row))
        if time.monotonic() - self.saved_at > SNAPSHOT_SECONDS:
            self.state.save({"history": vars(self.history)})
            self.saved_at = time.monotonic()
        self.began = time.perf_counter()
        if self.stop.requested or self.twin.stop_training:
            raise _Stopped

    def point(self) -> np.ndarray:
        """Returns the weights that learn as one vector, float64."""
        values = [keras.ops.convert_to_numpy(variable) for variable in self.variables]
        return np.concatenate([np.ravel(value) for value in values]).astype(np.float64)

    def assign(self, point: np.ndarray) -> None:
        """Sets the weights that learn from one vector."""
        ends = np.cumsum([math.prod(variable.shape) for variable in self.variables])
        for variable, part in zip(self.variables, np.split(point, ends[:-1]), strict=True):
            variable.assign(part.reshape(variable.shape).astype(np.float32))

    def _step(self, task: Task) -> Any:
        """A batch to its mean loss, the gradient, its weight, and the sums of the measures."""
        twin, strategy, replicas = self.twin, self.machine.strategy, self.machine.replicas
        (objective,) = task.objectives()

        def replica_step(batch: Mapping[str, Any]) -> Any:
            total, slopes, seen = steps.gradient(
                task,
                objective,
                {"net": twin},
                batch,
                variables=self.variables,
                replicas=replicas,
            )
            slope = tf.concat([tf.reshape(tf.cast(s, tf.float64), [-1]) for s in slopes], 0)
            weight = tf.reduce_sum(steps.weighed(seen.loss, batch)[1])
            return tf.cast(total, tf.float64), slope, weight, steps.sums(named(seen, ""), batch)

        @tf.function(autograph=False)
        def step(batch: Any) -> Any:
            found = strategy.run(replica_step, args=(batch,))
            totals = tf.nest.map_structure(lambda v: strategy.reduce("SUM", v, axis=None), found)
            return tf.nest.map_structure(lambda v: tf.cast(v, tf.float64), totals)

        return step
