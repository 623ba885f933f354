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

from zoo.data.feed import Feed
from zoo.data.source import Source, told
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
        feed = source if isinstance(source, Feed) else None
        self._feed = feed if machine.replicas == 1 and machine.worker is None else None
        self._asked, self._total = machine.steps_per_call, total
        self._seconds, self._steps, self._first, self._alone = 0.0, 0, 0.0, 0.0
        self.now, self.fresh = 1, True
        self.measuring = self._feed is not None and self._asked is None

    def begin(self, taken: int) -> int:
        """Returns how many steps the calls of an epoch are to take.

        Args:
            taken: Steps before it.
        """
        if self._feed is None:
            return 1
        if self._asked is not None and self.now == 1:
            self._go(self._asked)
        elif self.measuring and self._steps >= LOOKED:
            seconds = self._seconds / self._steps
            if self.now == 1:
                self._alone, self.measuring = seconds, False
                left = self._total - taken
                if seconds < SHORT_SECONDS and left * COST_SECONDS > TRACES * self._first:
                    self._go(min(MOST, int(CALL_SECONDS / seconds)))
                    self.measuring = self.now > 1
            else:
                told_of = f"{1e3 * self._alone:.2f} ms alone, {1e3 * seconds:.2f} ms"
                better = seconds < self._alone
                LOG.info("a step takes %s in calls of %d%s", told_of, self.now,
                         "" if better else "; steps stay alone")  # fmt: skip
                self.now, self.measuring = self.now if better else 1, False
        return self.now

    def made(self, seconds: float) -> None:
        """Notes how long the first call of a graph took."""
        self.fresh, self._seconds, self._steps = False, 0.0, 0
        self._first = self._first or seconds

    def note(self, seconds: float, steps: int) -> None:
        """Notes how long steps took, to their ends, with no graph to be made."""
        self._seconds += seconds
        self._steps += steps

    def batches(self, epoch: int, *, start: int) -> Iterator[Mapping[str, Any]]:
        """Gives the batches of `now` steps at a time, columns (steps, b, ...); the last the rest.

        Args:
            epoch: Number of the epoch.
            start: First step.
        """
        return told(self._grouped(epoch, start).prefetch(1))

    def specs(self) -> Mapping[str, tf.TensorSpec]:
        """Returns what `batches` gives."""
        found: Mapping[str, tf.TensorSpec] = self._grouped(0, 0).element_spec
        return found

    def _grouped(self, epoch: int, start: int) -> tf.data.Dataset:
        if self._feed is None:
            raise ValueError("Strides: got a source that has to be asked step by step.")
        return self._feed.dataset(epoch, start=start).batch(self.now)

    def _go(self, most: int) -> None:
        """Takes as many steps in a call as an epoch has and memory holds, and no more than that."""
        spec = self._grouped(0, 0).element_spec
        size = sum(one.shape[1:].num_elements() * one.dtype.size for one in spec.values())
        steps = self._feed.steps if self._feed else 1
        self.now = max(1, min(most, steps, MOST_BYTES // max(1, size)))
