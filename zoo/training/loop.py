"""The steps of a training, one after another, and what happens between them.

One device and many take the same steps, whatever is learnt: the task looks, the source gives, the
loop does the rest.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.data.feeds.source import Source
from zoo.recipe import Train
from zoo.tasks.task import Task
from zoo.training import cycles, transfer
from zoo.training import optimizer as optimizers
from zoo.training import snapshot as snapshots
from zoo.training import steps as functions
from zoo.training.blame import first_not_finite
from zoo.training.callbacks.calls import Calls
from zoo.training.halt import Halt
from zoo.training.history import DivergedError, History, Means, Sums, check_finite, logs_of
from zoo.training.regularize import regularize
from zoo.training.schedules import TRIES, Watch
from zoo.training.signals import StopRequest, Terminated
from zoo.training.snapshot import Snapshot
from zoo.training.steps import Learner
from zoo.training.strategy import Machine
from zoo.training.strides import Strides
from zoo.training.twin import copy_weights, make_twins

SNAPSHOT_SECONDS = 60.0  # at most this much work, and the epoch it ends in, is lost to a kill
SAVING_SHARE = 0.05  # of the time, at most, in which the epochs of an agent are kept
LOOK_SECONDS = 5.0  # between two looks at the loss, which wait for the step that computes it
LOG = logging.getLogger("zoo")


class Loop:
    """The state of one training, and what moves it.

    Args:
        networks: Functional, plain Keras, float32, by name.
        task: What is seen, minimised and measured.
        settings: How long, and by which steps.
        machine: Where it runs.
        source: Training batches.
        validation: Measured after every epoch.
        snapshot: File for the state of the unfinished run; `None` keeps none.
        measure: Returns the metrics of networks on the validation examples.
    """

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        task: Task,
        settings: Train,
        machine: Machine,
        source: Source,
        validation: Source | None = None,
        *,
        snapshot: Path | None = None,
        measure: Callable[[Mapping[str, keras.Model]], Mapping[str, float]] | None = None,
    ):
        self.settings, self.machine, self.task = settings, machine, task
        self.source, self.validation, self.snapshot = source, validation, snapshot
        self.networks, self.measure = networks, measure
        precision, replicas = self.machine.precision, self.machine.replicas
        with self.machine.strategy.scope():
            self.twins = make_twins(self.networks, precision, replicas=replicas)
            # Of several networks, callbacks see what is deployed, made of the twins.
            several = len(self.twins) > 1
            self.seen = self.task.deployed(self.twins) if several else self.twin
        for objective in self.task.objectives():
            for name in objective.learns:
                regularize(self.twins[name], self.settings.regularize)
        self.test_step = functions.test_step(self.twins, self.task, self.machine)
        self.phases = transfer.phases(self.settings, self.task.objectives())
        self.history, self.step, self.sums = History(), 0, Sums()
        self.saving = 0.0  # seconds that the last snapshot took
        self.frozen: list[keras.layers.Layer] = []
        self.best: tuple[float, list[np.ndarray]] | None = None
        self.callbacks: list[keras.callbacks.Callback] = []
        self.finished = False  # no step is to follow
        self.halt = Halt(self.machine, self.seen)
        total = settings.epochs * source.steps
        self.strides = Strides(self.machine, source, total=total)

    @property
    def twin(self) -> keras.Model:
        """The twin of the first network."""
        return next(iter(self.twins.values()))

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables of the networks, seeds' states among them."""
        return [variable for twin in self.twins.values() for variable in twin.variables]

    def enter(self, index: int) -> None:
        """Starts a phase: what learns, and the optimizers with their schedules."""
        self.index, self.phase = index, self.phases[index]
        transfer.thaw(self.frozen)
        self.frozen = transfer.freeze(self.twin, self.phase.unfreeze)
        with self.machine.strategy.scope():
            self.learners = [self.learner(objective) for objective in self.phase.objectives]
        self.seen.compile(optimizer=self.learners[0].optimizer)  # where callbacks look for it
        self.watches = [Watch(one.optimizer._learning_rate, one.settings) for one in self.learners]
        self.train_step = functions.train_step(
            self.learners,
            self.twins,
            self.task,
            self.machine,
            follows=self.task.follows(),
            accumulate=self.settings.accumulate,
        )
        self.several: Any = None  # the function that takes several steps
        self.strides.fresh = True
        self.measures: tuple[str, ...] = ()  # names of what a step measures, once it is known
        optimizer_variables = [v for one in self.learners for v in one.optimizer.variables]
        kinds = [type(one.optimizer).__name__ for one in self.learners]
        variables = [*self.variables, *optimizer_variables]
        self.state = Snapshot(self.snapshot, variables, kinds, writes=self.machine.chief)
        # What `divide` goes back to, until its first epoch is over.
        self.names = transfer.loss_names(self.task.objectives())
        divided = any(one.settings.schedule == "divide" for one in self.learners)
        self.initial = self.state.values() if divided else None

    def learner(self, objective: Any) -> Learner:
        """Returns an objective of the present phase with a fresh optimizer."""
        settings = self.phase.optimizers[objective.name]
        steps = self.phase.epochs * self.source.steps * objective.times
        optimizer = optimizers.build(settings, steps=steps)
        variables = objective.variables(self.twins)
        optimizer.build(variables)
        return Learner(objective, optimizer, settings, variables)

    def restore(self) -> None:
        """Goes back to the snapshot, or to the one before where that is damaged."""
        if self.machine.chief:
            snapshots.mend(self.snapshot)
        self.machine.total([0])  # nobody reads before
        saved, more = snapshots.progress(self.snapshot), snapshots.more(self.snapshot)
        self.finished = saved.get("finished", False)
        if saved["phase"]:
            self.enter(saved["phase"])
        self.state.restore()
        self.history, self.step = History(**saved["history"]), saved["step"]
        self.sums = Sums(saved["sums"])
        for watch, state in zip(self.watches, saved["watches"], strict=True):
            watch.restore(state)
        if saved["best"] is not None:
            values = [more[f"best/{i}"] for i in range(len(self.variables))]
            self.best = saved["best"], values
        arrays = {
            name.removeprefix("source/"): value
            for name, value in more.items()
            if name.startswith("source/")
        }
        self.source.restore(arrays)
        if self.initial is not None:
            searching = self.step == self.phase.first * self.source.steps
            self.initial = self.state.values() if searching else None

    def save(self) -> None:
        """Writes the snapshot; while `divide` searches, that is where it starts from."""
        began = time.monotonic()
        searching = self.initial is not None
        values = {
            "phase": self.index,
            "step": self.phase.first * self.source.steps if searching else self.step,
            "sums": {} if searching else self.sums.plain(),
            "history": vars(self.history),
            "watches": [watch.state for watch in self.watches],
            "best": self.best and self.best[0],
            "finished": self.finished,
        }
        more = {f"source/{name}": value for name, value in self.source.state().items()}
        if self.best:
            more |= {f"best/{i}": value for i, value in enumerate(self.best[1])}
        more |= snapshots.states(self.callbacks)
        self.state.save(values, self.initial, more=more)
        self.saved_at = time.monotonic()
        self.saving = self.saved_at - began

    @property
    def patience(self) -> float:
        """Seconds from a snapshot to the next, at the end of an epoch.

        An environment is anybody's code and can fail at any time, so that all epochs are kept as
        long as that takes a small share of the time.
        """
        often = getattr(self.source, "own_code", False)
        return min(self.saving / SAVING_SHARE, SNAPSHOT_SECONDS) if often else SNAPSHOT_SECONDS

    @property
    def stopped(self) -> bool:
        """Whether no step is to follow."""
        return self.finished or bool(self.halt)

    def check_same(self) -> None:
        """Waits for all workers, and refuses to go on where they are not at the same step.

        Raises:
            RuntimeError: They read different snapshots.
        """
        if not self.machine.agrees(self.step):
            raise RuntimeError(
                f"{self.snapshot}: got step {self.step}, and another one on other workers; "
                "expected one snapshot. Put --out on storage that all hosts share."
            )

    def run(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        stop: StopRequest,
        *,
        resume: bool = False,
    ) -> None:
        """Trains from the present step to the last, or until somebody stops it."""
        self.callbacks = list(callbacks)
        epochs, steps = self.settings.epochs, self.source.steps
        self.calls = Calls(callbacks, self.seen, epochs=epochs, steps=steps, networks=self.twins)
        self.halt.request = stop
        self.saved_at = self.looked_at = time.monotonic()
        self.seen.stop_training = False
        self.calls.train_begin()
        self.halt.agree()
        try:
            self.go_on(steps, resume=resume)
        except Exception:
            if self.calls.failed:  # the steps before are not lost
                self.save()
            raise
        self.finished |= not self.history.interrupted
        self.save()  # what follows, e.g. the writing of a bundle, can fail
        for learner in self.learners:
            optimizers.average(learner.optimizer, learner.variables)
        if self.best:
            for variable, value in zip(self.variables, self.best[1], strict=True):
                variable.assign(value)
        rows = self.history.rows
        self.calls.train_end(logs_of(rows[-1]) if rows else {})

    def go_on(self, steps: int, *, resume: bool) -> None:
        """Takes the steps that are left, of so many in an epoch."""
        if resume:  # a callback may have begun with changes of the weights
            self.state.restore()
            if self.machine.chief:
                snapshots.give_back(self.callbacks, snapshots.more(self.snapshot))
        if self.history.epochs < self.step // steps:  # SIGTERM came before its end
            self.end_epoch(self.step // steps - 1, 0.0)
        while True:
            while self.step < self.phase.last * steps and not self.stopped:
                self.train_epoch(self.step // steps)
            if self.stopped or self.index + 1 == len(self.phases):
                break
            for learner in self.learners:
                optimizers.average(learner.optimizer, learner.variables)
            self.enter(self.index + 1)
        total = self.settings.epochs * steps
        self.history.interrupted = self.halt.requested and self.step < total

    def train_epoch(self, epoch: int) -> None:
        """Takes the steps that are left of an epoch."""
        self.calls.epoch_begin(epoch)
        steps, size = self.source.steps, self.source.batch_size
        began = clock = tick = time.perf_counter()
        timed = 0
        for batch, several in self.pieces(epoch):
            taken = several or 1
            place = self.step % steps + taken - 1
            self.calls.batch_begin(place - taken + 1)
            self.step += taken
            if several:
                self.take_steps(batch, several)
            else:
                self.batch = batch
                self.sums.add(self.take_step(batch))
                self.measures = tuple(self.sums.totals)
            self.calls.batch_end(place, Means(self.sums))
            now = time.perf_counter()
            self.history.seconds += now - tick
            tick, timed = now, timed + taken
            if self.strides.fresh:
                self.strides.made(now - clock)
                clock, timed = time.perf_counter(), 0
            self.history.images += size * taken
            if (lost := self.lost((place + 1) / steps)) is not None:
                self.start_over(lost)
                return
            if self.initial is None and time.monotonic() - self.looked_at > LOOK_SECONDS:
                self.check_finite(epoch)
            if self.stopped:
                break
            # At the end of an epoch there is a row to write first.
            if self.step % steps and time.monotonic() - self.saved_at > SNAPSHOT_SECONDS:
                self.save()
        if self.strides.measuring and timed and not self.stopped:
            self.sums.wait()
            self.strides.note(time.perf_counter() - clock, timed)
        if self.step % steps == 0:
            # What takes long waits for the run that goes on.
            with contextlib.suppress(Terminated):
                if not self.halt.terminated:
                    self.end_epoch(epoch, time.perf_counter() - began)
            if time.monotonic() - self.saved_at > self.patience:
                self.save()
        elif not self.stopped:
            raise RuntimeError(
                f"epoch {epoch + 1}: the source gave {self.step % steps} steps; expected {steps}."
            )

    def pieces(self, epoch: int) -> Iterator[tuple[Any, int]]:
        """Gives what is left of an epoch: a batch and 0, or those of several steps and how many."""
        start = self.step % self.source.steps
        searching = self.calls.every_step or self.initial is not None
        several = self.strides.begin(self.step, alone=searching)
        if not self.strides.flows or (several > 1 and not self.measures):
            batches = self.source.batches(
                self.machine.strategy, epoch, start=start, networks=self.twins
            )
            for batch in batches:
                yield batch, 0
                start += 1
                if self.strides.flows:  # a single step tells what is measured
                    break
        if not self.strides.flows or start == self.source.steps:
            return
        for batch in self.strides.batches(epoch, start=start):
            yield batch, len(next(iter(batch.values()))) if several > 1 else 0

    def take_steps(self, batches: Any, count: int) -> None:
        """Takes several steps in one call.

        Args:
            batches: Columns (steps, b, ...).
            count: Number of steps, the last of which has just been counted.
        """
        if self.several is None:
            self.several = functions.several_steps(self.train_step, self.strides.specs())
            self.strides.fresh = True
        totals = {name: np.zeros(2) for name in self.measures} | self.sums.totals
        number = tf.constant(self.step - count + 1)
        self.sums.totals = self.several(batches, number, totals)
        self.batch = {name: column[-1] for name, column in batches.items()}

    def take_step(self, batch: Any) -> dict[str, Any]:
        """Takes a step, on which several workers agree whether it is the last."""
        number = tf.constant(self.step)
        if self.machine.worker is None:
            return dict(self.train_step(batch, number))
        asked = tf.constant(self.halt.asked, tf.float32)
        sums = dict(self.train_step(batch, number, asked))
        self.halt.heed(sums.pop(functions.ASKED))
        return sums

    def end_epoch(self, epoch: int, seconds: float) -> None:
        """Measures, and writes the row of the epoch."""
        row = {"epoch": epoch + 1, "seconds": seconds}
        row["learning_rate"] = optimizers.last_rate(self.learners[0].optimizer)
        row |= self.sums.means()
        self.check_finite(epoch)
        with self.averaged():
            plateau = any(one.settings.schedule == "plateau" for one in self.learners)
            keep = self.settings.keep == "best"
            if self.validation and (plateau or keep or not self.halt.requested):
                means = self.validate(self.validation)
                row |= {f"val_{name}": value for name, value in means.items()}
            for one, watch in zip(self.learners, self.watches, strict=True):
                if one.settings.schedule == "plateau" and watch.end_epoch(
                    row[f"val_{self.names[one.objective.name]}"]
                ):
                    LOG.info("epoch %d: plateau; the learning rate is lowered", epoch + 1)
            if keep:
                self.keep(row)
            cycle = cycles.ending(self.phase, epoch)
            if cycle and self.snapshot and self.machine.chief:
                self.copy_back()
                cycles.keep(next(iter(self.networks.values())), self.snapshot.parent, cycle)
            self.history.rows.append(row)
            self.history.epochs, self.sums, self.initial = epoch + 1, Sums(), None
            self.calls.epoch_end(epoch, logs_of(row))
            self.halt.agree()

    def check_finite(self, epoch: int) -> None:
        """Refuses to go on when the loss of an epoch, so far, is not a number."""
        self.looked_at = time.monotonic()
        for one in self.learners:
            name, rate = self.names[one.objective.name], one.settings.learning_rate
            if self.sums.totals[name][1] > 0:  # an agent may have learnt nothing yet
                try:
                    check_finite(self.sums.mean(name), epoch=epoch + 1, learning_rate=rate)
                except DivergedError as error:
                    raise DivergedError(f"{error}{self.blamed()}") from None

    def blamed(self) -> str:
        """Names the first layer that is not finite on the last batch, where it can be found."""
        names = [one.objective.name for one in self.learners]
        layer = None
        if self.machine.replicas == 1:  # of several, one would have to be each in turn
            with contextlib.suppress(Exception):  # what is told is that the training diverged
                layer = first_not_finite(self.task, names, self.twins, self.batch)
        return f" The first layer whose outputs are not finite: {layer}." if layer else ""

    def keep(self, row: dict[str, float]) -> None:
        """Keeps the weights of the epoch whose headline is the best so far."""
        headline = self.task.headline
        if (name := f"val_{headline.name}") not in row:
            if self.measure is None:
                raise ValueError(
                    f"keep best: got no {name}, which is no mean over batches; expected `measure`."
                )
            self.copy_back()
            row[name] = self.measure(self.networks)[headline.name]
        value = row[name]
        if math.isfinite(value) and (self.best is None or headline.better(value, self.best[0])):
            values = [np.array(keras.ops.convert_to_numpy(v)) for v in self.variables]
            self.best = value, values

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Gives the twins the moving averages of their weights, where there are some."""
        with contextlib.ExitStack() as stack:
            for one in self.learners:
                stack.enter_context(optimizers.averaged(one.optimizer, one.variables))
            yield

    def lost(self, share: float) -> int | None:
        """The number of the objective that diverges while `divide` looks for its rate.

        Args:
            share: Share of the epoch's steps that was taken.
        """
        if self.initial is None:
            return None
        for number, (one, watch) in enumerate(zip(self.learners, self.watches, strict=True)):
            name = self.names[one.objective.name]
            if one.settings.schedule == "divide" and watch.diverges(self.sums, name, share=share):
                return number
        return None

    def start_over(self, number: int) -> None:
        """Goes back to where `divide` started, with a smaller rate for one objective."""
        watch, settings = self.watches[number], self.learners[number].settings
        if watch.state["tries"] == TRIES:
            raise DivergedError(
                f"training diverged: the first epoch does so at every rate from "
                f"{settings.learning_rate:g} down to {watch.rate:g}, {TRIES} divisions; "
                "lower train.optimizer.learning_rate."
            )
        self.state.assign(self.initial or [])
        watch.lower()
        LOG.info("the first epoch diverged; it starts anew at the rate %g", watch.rate)
        self.step, self.sums = self.phase.first * self.source.steps, Sums()

    def validate(self, source: Source) -> dict[str, float]:
        """Returns the means over a split."""
        sums = Sums()
        for batch in source.batches(self.machine.strategy, networks=self.twins):
            if self.machine.worker is None and self.halt.terminated:
                raise Terminated
            sums.add(self.test_step(batch))
        return sums.means()

    def copy_back(self) -> None:
        """Gives the networks the weights of their twins."""
        for name, network in self.networks.items():
            copy_weights(self.twins[name], network)
