"""Requests that wait together are run together.

A worker that becomes free takes what waits, up to a number of examples: nobody waits for others
unless `wait_seconds` says so, and the busier a model is, the larger its batches become.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from serving.engines import Arrays, Engine


class BusyError(Exception):
    """More examples wait than may."""


class ClosedError(Exception):
    """The model was put away."""


class _Waiting(NamedTuple):
    inputs: Arrays
    rows: int
    since: float
    answer: Future[Arrays]

    def fits(self, other: _Waiting) -> bool:
        """Whether the two can be one batch: sizes that may vary are the same."""
        return all(
            array.shape[1:] == other.inputs[name].shape[1:] for name, array in self.inputs.items()
        )


class Batcher:
    """Runs requests on a model's engines, several requests at a time where it takes batches.

    Args:
        engines: One for each worker; the same one several times where it may run so.
        max_batch: Examples of a run at most. A request of more is run in several.
        wait_seconds: How long the first of a batch waits for others.
        max_waiting: Examples that may wait.
        seen: Is told of each run: its examples, its requests, and the seconds that it took.
        queued: Is told of examples that come into the queue, and, below 0, that leave it.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        max_batch: int,
        wait_seconds: float,
        max_waiting: int,
        seen: Callable[[int, int, float], None],
        queued: Callable[[float], None],
    ) -> None:
        self._max_batch = max_batch
        self._wait_seconds = wait_seconds
        self._max_waiting = max_waiting
        self._seen, self._queued = seen, queued
        self._queue: deque[_Waiting] = deque()
        self._rows = 0  # of the queue
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(engine,), daemon=True) for engine in engines
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Examples that wait for a worker."""
        return self._rows

    def submit(self, inputs: Arrays) -> Future[Arrays]:
        """Asks for the answers to some examples.

        Args:
            inputs: One array for each input, (batch, ...).

        Raises:
            BusyError: Too many examples wait.
            ClosedError: The model was put away.
        """
        rows = len(next(iter(inputs.values())))
        answer: Future[Arrays] = Future()
        with self._changed:
            if self._closed:
                raise ClosedError
            # One that is alone is let in whatever its size, else it could never be answered.
            if self._rows and self._rows + rows > self._max_waiting:
                raise BusyError
            self._queue.append(_Waiting(inputs, rows, time.monotonic(), answer))
            self._rows += rows
            self._queued(rows)
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Takes no more, and returns when what waits has been answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, engine: Engine) -> None:
        while taken := self._take():
            live = [one for one in taken if one.answer.set_running_or_notify_cancel()]
            if live:
                self._run(engine, live)

    def _take(self) -> list[_Waiting]:
        """The next batch; nothing when the model was put away and all are answered."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if not self._queue:
                return []
            taken = [self._pop()]
            rows, end = taken[0].rows, taken[0].since + self._wait_seconds
            while rows < self._max_batch:
                if not self._queue:
                    left = end - time.monotonic()
                    if self._closed or left <= 0 or not self._changed.wait(left):
                        break
                    continue
                following = self._queue[0]
                if rows + following.rows > self._max_batch or not following.fits(taken[0]):
                    break
                taken.append(self._pop())
                rows += following.rows
            if self._queue:  # another worker may have been woken in vain, or not at all
                self._changed.notify()
            return taken

    def _pop(self) -> _Waiting:
        one = self._queue.popleft()
        self._rows -= one.rows
        self._queued(-one.rows)
        return one

    def _run(self, engine: Engine, taken: list[_Waiting]) -> None:
        rows = sum(one.rows for one in taken)
        try:
            outputs = self._outputs(engine, _together(taken), rows, len(taken))
        except Exception as error:
            if len(taken) == 1:
                taken[0].answer.set_exception(error)
            else:  # one of them may be at fault: each is asked alone
                for one in taken:
                    self._run(engine, [one])
            return
        begin = 0
        for one in taken:
            end = begin + one.rows
            one.answer.set_result({name: array[begin:end] for name, array in outputs.items()})
            begin = end

    def _outputs(self, engine: Engine, inputs: Arrays, rows: int, requests: int) -> Arrays:
        """Runs as many examples at a time as may be."""
        parts = []
        for begin in range(0, rows, self._max_batch):
            start, end = time.monotonic(), min(rows, begin + self._max_batch)
            part = inputs
            if rows > self._max_batch:
                part = {name: array[begin:end] for name, array in inputs.items()}
            parts.append(engine.predict(part))
            check_rows(parts[-1], end - begin)
            self._seen(end - begin, requests, time.monotonic() - start)
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_rows(outputs: Arrays, rows: int) -> None:
    """Sees to it that each example has an answer; a file may mix them up.

    Args:
        outputs: What an engine gave.
        rows: Examples that it was given.

    Raises:
        RuntimeError: An output has more or fewer rows.
    """
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise RuntimeError(
                f"output {name!r}: got shape {array.shape} for {rows} examples; expected a row for "
                "each."
            )


def _together(taken: list[_Waiting]) -> Arrays:
    if len(taken) == 1:
        return taken[0].inputs
    return {name: np.concatenate([one.inputs[name] for one in taken]) for name in taken[0].inputs}
