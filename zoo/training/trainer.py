"""The training loop: `strategy.run`, `optimizer.apply` and Keras callbacks, on one device or many.

Keras' own `fit` clips before the gradients are summed, repeats dropout masks on every replica and
fails on several hosts, so the zoo has this one loop. One device and many take the same steps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from zoo.data.feed import Feed
from zoo.recipe import Train
from zoo.tasks.task import Task
from zoo.training import cycles, transfer
from zoo.training import optimizer as optimizers
from zoo.training import steps as functions
from zoo.training.history import DivergedError, History, Sums, check_finite
from zoo.training.regularize import regularize
from zoo.training.schedules import TRIES, Watch
from zoo.training.signals import StopRequest, stop_request
from zoo.training.snapshot import Snapshot, progress
from zoo.training.strategy import Machine
from zoo.training.twin import copy_weights, make_twin

SNAPSHOT_SECONDS = 60.0  # at most this much work, and the epoch it ends in, is lost to a kill
LOG = logging.getLogger("zoo")


class Trainer:
    """Trains a model.

    Args:
        model: Functional, plain Keras, float32. Its weights are changed when `fit` returns.
        task: What is minimised and measured.
        settings: How long, and towards what; the kind of optimizer is not `lbfgs`.
        machine: Where it runs.
    """

    def __init__(self, model: keras.Model, task: Task, settings: Train, machine: Machine):
        self.model = model
        self.task = task
        self.settings = settings
        self.machine = machine

    def fit(
        self,
        feed: Feed,
        validation: Feed | None = None,
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        snapshot: Path | None = None,
        resume: bool = False,
    ) -> History:
        """Trains until the last epoch, a callback's stop, Ctrl-C or SIGTERM.

        A callback sees the epoch that `divide` starts over begin again, with the same number.

        Args:
            feed: Training batches.
            validation: Measured after every epoch.
            callbacks: Keras callbacks; their model is the twin that is trained. After an epoch and
                at the end it has the moving average of the weights, where one is kept.
            snapshot: File for the state of the unfinished run; `None` keeps none.
            resume: Whether to continue from `snapshot`.

        Raises:
            DivergedError: The loss of an epoch is not a number.
            ValueError: `plateau` has no validation to look at, or the snapshot is of another model.
        """
        if self.settings.optimizer.schedule == "plateau" and validation is None:
            raise ValueError("schedule plateau: got no validation; expected batches to look at.")
        loop = _Loop(self, feed, validation, snapshot)
        loop.enter(0)
        if resume:
            loop.restore()
        with stop_request() as stop:
            loop.run(callbacks, stop)
        copy_weights(loop.twin, self.model)
        return loop.history


class _Loop:
    """The state of one training, and what moves it."""

    def __init__(
        self, trainer: Trainer, feed: Feed, validation: Feed | None, snapshot: Path | None
    ):
        self.settings, self.machine, self.task = trainer.settings, trainer.machine, trainer.task
        self.feed, self.validation, self.snapshot = feed, validation, snapshot
        self.model = trainer.model
        with self.machine.strategy.scope():
            self.twin = make_twin(
                self.model, self.machine.precision, replicas=self.machine.replicas
            )
        regularize(self.twin, self.settings.regularize)
        self.test_step = functions.test_step(self.twin, self.task, self.machine)
        self.phases = transfer.phases(self.settings)
        self.history, self.step, self.sums = History(), 0, Sums()
        self.frozen: list[keras.layers.Layer] = []

    def enter(self, index: int) -> None:
        """Starts a phase: what learns, and the optimizer with its schedule."""
        self.index, self.phase = index, self.phases[index]
        transfer.thaw(self.frozen)
        self.frozen = transfer.freeze(self.twin, self.phase.unfreeze)
        settings = self.phase.optimizer
        with self.machine.strategy.scope():
            steps = self.phase.epochs * self.feed.steps
            self.optimizer = optimizers.build(settings, steps=steps)
            self.optimizer.build(self.twin.trainable_variables)
        self.twin.compile(optimizer=self.optimizer)  # where callbacks look for it
        self.watch = Watch(self.optimizer._learning_rate, settings)
        self.train_step = functions.train_step(
            self.twin, self.optimizer, self.task, self.settings, self.machine,
            batch_size=self.feed.batch_size,
        )  # fmt: skip
        variables = [*self.twin.variables, *self.optimizer.variables]
        self.state = Snapshot(self.snapshot, variables, type(self.optimizer).__name__)
        # What `divide` goes back to, until its first epoch is over.
        self.initial = self.state.values() if settings.schedule == "divide" else None

    def restore(self) -> None:
        """Goes back to the snapshot."""
        saved = progress(self.snapshot)
        if saved["phase"]:
            self.enter(saved["phase"])
        self.state.restore()
        self.history, self.step = History(**saved["history"]), saved["step"]
        self.sums = Sums(saved["sums"])
        self.watch.restore(saved["watch"])
        if self.initial is not None:
            searching = self.step == self.phase.first * self.feed.steps
            self.initial = self.state.values() if searching else None

    def save(self) -> None:
        """Writes the snapshot; while `divide` searches, that is where it starts from."""
        searching = self.initial is not None
        values = {
            "phase": self.index,
            "step": self.phase.first * self.feed.steps if searching else self.step,
            "sums": {} if searching else self.sums.totals,
            "history": vars(self.history),
            "watch": self.watch.state,
        }
        self.state.save(values, self.initial)
        self.saved_at = time.monotonic()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked the training to stop."""
        return self.stop.requested or bool(self.twin.stop_training)

    def run(self, callbacks: Sequence[keras.callbacks.Callback], stop: StopRequest) -> None:
        """Trains from the present step to the last, or until somebody stops it."""
        epochs, steps = self.settings.epochs, self.feed.steps
        self.calls = keras.callbacks.CallbackList(
            list(callbacks), model=self.twin, epochs=epochs, steps=steps, verbose=0
        )
        self.stop, self.saved_at = stop, time.monotonic()
        self.twin.stop_training = False
        self.calls.on_train_begin()
        while True:
            while self.step < self.phase.last * steps and not self.stopped:
                self.train_epoch(self.step // steps)
            if self.stopped or self.index + 1 == len(self.phases):
                break
            optimizers.average(self.optimizer, self.twin)
            self.enter(self.index + 1)
        self.history.interrupted = stop.requested and self.step < epochs * steps
        if self.history.interrupted:
            self.save()
        optimizers.average(self.optimizer, self.twin)
        self.calls.on_train_end()

    def train_epoch(self, epoch: int) -> None:
        """Takes the steps that are left of an epoch."""
        self.calls.on_epoch_begin(epoch)
        steps, size = self.feed.steps, self.feed.batch_size
        began = tick = time.perf_counter()
        for batch in self.distribute(self.feed, epoch, start=self.step % steps):
            place = self.step % steps
            self.calls.on_train_batch_begin(place)
            self.sums.add(self.train_step(batch))
            self.calls.on_train_batch_end(place, self.sums.means())
            self.step += 1
            self.history.seconds += time.perf_counter() - tick
            tick = time.perf_counter()
            self.history.images += size
            if self.initial is not None and self.watch.diverges(self.sums, images=steps * size):
                self.start_over()
                return
            if self.stopped:
                break
            # At the end of an epoch there is a row to write first.
            if self.step % steps and time.monotonic() - self.saved_at > SNAPSHOT_SECONDS:
                self.save()
        if self.step % steps == 0:
            self.end_epoch(epoch, time.perf_counter() - began)

    def end_epoch(self, epoch: int, seconds: float) -> None:
        """Measures, and writes the row of the epoch."""
        row = {"epoch": epoch + 1, "seconds": seconds}
        row |= {"learning_rate": optimizers.last_rate(self.optimizer), **self.sums.means()}
        check_finite(row["loss"], epoch=epoch + 1, learning_rate=self.phase.optimizer.learning_rate)
        with optimizers.averaged(self.optimizer, self.twin):
            plateau = self.phase.optimizer.schedule == "plateau"
            if self.validation and (plateau or not self.stop.requested):
                means = self.measure(self.validation)
                row |= {f"val_{name}": value for name, value in means.items()}
            if plateau and self.watch.end_epoch(row["val_loss"]):
                LOG.info("epoch %d: plateau; the learning rate is lowered", epoch + 1)
            cycle = cycles.ending(self.phase, epoch)
            if cycle and self.snapshot:
                copy_weights(self.twin, self.model)
                cycles.keep(self.model, self.snapshot.parent, cycle)
            self.history.rows.append(row)
            self.history.epochs, self.sums, self.initial = epoch + 1, Sums(), None
            self.calls.on_epoch_end(epoch, {k: v for k, v in row.items() if k != "epoch"})

    def start_over(self) -> None:
        """Goes back to where `divide` started, with a smaller rate."""
        if self.watch.state["tries"] == TRIES:
            settings = self.phase.optimizer
            raise DivergedError(
                f"training diverged: the first epoch does so at every rate from "
                f"{settings.learning_rate:g} down to {self.watch.rate:g}, {TRIES} divisions; "
                "lower train.optimizer.learning_rate."
            )
        self.state.assign(self.initial or [])
        self.watch.lower()
        LOG.info("the first epoch diverged; it starts anew at the rate %g", self.watch.rate)
        self.step, self.sums = self.phase.first * self.feed.steps, Sums()

    def distribute(self, feed: Feed, epoch: int = 0, start: int = 0) -> Any:
        """Returns the batches of an epoch, dealt out to the replicas."""
        replicas = self.machine.replicas
        return self.machine.strategy.distribute_datasets_from_function(
            lambda _: feed.dataset(epoch, start=start, replicas=replicas)
        )

    def measure(self, feed: Feed) -> dict[str, float]:
        """Returns the means over a split."""
        sums = Sums()
        for batch in self.distribute(feed):
            sums.add(self.test_step(batch))
        return sums.means()
