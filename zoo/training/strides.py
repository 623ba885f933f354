"""How many steps one call takes: a call costs about a millisecond, and so do some steps.

Several steps in one call are those of single calls to the last bit, so they can begin with any
epoch. A training begins with single steps. After some it is known how long one takes, and whether
what is left is worth the graph of several; whether that is faster is then measured, and the slower
way left.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from zoo.data.feeds.feed import Feed
from zoo.data.feeds.source import Source, told
from zoo.training.strategy import Machine

LOOKED = 40  # steps of a way that are timed before it is judged
SHORT_SECONDS = 0.03  # of a step: beyond, a call costs nothing beside it
CALL_SECONDS = 0.1  # of steps in one call: between two a signal is met, and a bar moves
MOST = 32
MOST_BYTES = 2**26  # of the batches of a call
COST_SECONDS = 1e-3  # of a call, about
TRACES = 2  # times the first single step, which makes a graph too, the first of several takes
LOG = logging.getLogger("zoo")


class Strides:
    """Chooses how many steps a call takes.

    Args:
        machine: Where it runs; its `steps_per_call` is what the user chose.
        source: Where batches come from.
        total: Steps of the training.

    Attributes:
        now: Steps in a call.
        fresh: Whether a graph is new: its first call takes longer.
        measuring: Whether it is to be told how long steps take.
    """

    def __init__(self, machine: Machine, source: Source, *, total: int):
        feed = source if isinstance(source, Feed) and hasattr(source, "_columns") else None
        hindered = {
            "the source is read step by step": feed is None,
            "batches of data.buckets differ in length": feed is not None and not feed.even,
            "several devices share a step": machine.replicas > 1 or machine.worker is not None,
        }
        told = [reason for reason, there in hindered.items() if there]
        if told and machine.steps_per_call not in (None, 1):
            LOG.warning(
                "hardware.steps_per_call: got %d; each step is a call of its own, as %s",
                machine.steps_per_call, told[0],
            )  # fmt: skip
        self._feed = None if told else feed
        self._epochs = -(-total // source.steps)
        self._running: Iterator[Any] | None = None
        self._next = (0, 0, 1)  # epoch, step and steps at a time of what comes next
        self._asked, self._total = machine.steps_per_call, total
        self._seconds, self._steps, self._first, self._alone = 0.0, 0, 0.0, 0.0
        self.now = self._chosen = 1
        self.fresh = True
        self.measuring = self._feed is not None and self._asked is None

    def begin(self, taken: int, *, alone: bool = False) -> int:
        """Returns how many steps the calls of an epoch are to take.

        Args:
            taken: Steps before it.
            alone: Whether each step has to be alone in this epoch.
        """
        if self._asked is not None and self._chosen == 1:
            self._chosen = self._fitting(self._asked)
        elif self.measuring and self._steps >= LOOKED:
            self._choose(self._seconds / self._steps, left=self._total - taken)
        self.now = 1 if alone else self._chosen
        return self.now

    def _choose(self, seconds: float, *, left: int) -> None:
        """Chooses by what a step takes, and judges the choice by the same."""
        if self._chosen == 1:
            self._alone = seconds
            if seconds < SHORT_SECONDS and left * COST_SECONDS > TRACES * self._first:
                self._chosen = self._fitting(min(MOST, int(CALL_SECONDS / seconds)))
            self.measuring = self._chosen > 1
            return
        better = seconds < self._alone
        LOG.info(
            "a step takes %.2f ms alone, %.2f ms in calls of %d%s",
            1e3 * self._alone, 1e3 * seconds, self._chosen, "" if better else "; they stay alone",
        )  # fmt: skip
        self._chosen, self.measuring = self._chosen if better else 1, False

    def made(self, seconds: float) -> None:
        """Notes how long the first call of a graph took."""
        self.fresh, self._seconds, self._steps = False, 0.0, 0
        self._first = self._first or seconds

    def note(self, seconds: float, steps: int) -> None:
        """Notes how long steps took, to their ends, with no graph to be made."""
        self._seconds += seconds
        self._steps += steps

    @property
    def flows(self) -> bool:
        """Whether `batches` can be asked: on one device, of examples that stay in memory."""
        return self._feed is not None

    def batches(self, epoch: int, *, start: int) -> Iterator[Mapping[str, Any]]:
        """Gives what is left of an epoch, and makes the next epoch's batches meanwhile.

        To make a pipeline takes as long as a few steps do, so that one goes through all epochs.

        Args:
            epoch: Number of the epoch.
            start: First step.

        Yields:
            Columns (b, ...); where a call takes several steps (steps, b, ...), the last the rest.
        """
        if self._running is None or self._next != (epoch, start, self.now):
            self._running = told(self._through(epoch, start))
        steps = self._feed.steps if self._feed else 0
        for one in self._running:
            start += len(next(iter(one.values()))) if self.now > 1 else 1
            self._next = (epoch + start // steps, start % steps, self.now)
            yield one
            if start == steps:
                self._running = self._running if epoch + 1 < self._epochs else None
                return

    def specs(self) -> Mapping[str, tf.TensorSpec]:
        """Returns what `batches` gives."""
        found: Mapping[str, tf.TensorSpec] = self._grouped(0, 0).element_spec
        return found

    def _through(self, epoch: int, start: int) -> tf.data.Dataset:
        """The batches from a step on, through all epochs."""
        later = tf.data.Dataset.range(epoch + 1, max(epoch + 1, self._epochs))
        later = later.flat_map(lambda one: self._grouped(one, 0))
        through = self._grouped(epoch, start).concatenate(later).prefetch(2)
        options = tf.data.Options()
        options.autotune.enabled = False  # see `zoo.data.feeds.feed`
        return through.with_options(options)

    def _grouped(self, epoch: Any, start: int) -> tf.data.Dataset:
        if self._feed is None:
            raise ValueError("Strides: got a source that has to be asked step by step.")
        made = self._feed.dataset(epoch, start=start)
        return made.batch(self.now) if self.now > 1 else made

    def _fitting(self, most: int) -> int:
        """As many steps in a call as an epoch has and memory holds, and no more than that."""
        if self._feed is None:
            return 1
        spec = self._feed.dataset().element_spec.values()
        if not all(one.shape.is_fully_defined() for one in spec):
            return 1  # batches of several shapes share no call
        size = sum(one.shape.num_elements() * one.dtype.size for one in spec)
        return max(1, min(most, self._feed.steps, MOST_BYTES // max(1, size)))
