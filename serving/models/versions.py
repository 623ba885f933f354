"""A version of a model: what runs it, what is to be known of it, and who holds it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from export.manifest import LOGITS, Manifest, Signature, TensorSpec
from serving.engines import Arrays, Engine, open_engines
from serving.metrics import Metrics
from serving.models.batching import Batcher, check_rows
from serving.models.cores import num_cores
from serving.models.ranges import Ranges, ranges_of
from serving.models.sessions import Sessions
from serving.settings import Serving

LOG = logging.getLogger("serving")
QUICK_SECONDS = 0.0005  # what runs sooner is not handed to a worker: the way there takes as long


class Version:
    """A version of a model that answers; within a `with` block that begins with `take`, it stays.

    Attributes:
        name: Name of the model.
        number: Its version.
        manifest: What the deployable says of itself.
        engine: What runs it; of several workers the first.
        ranges: Numbers that inputs take, see `ranges.ranges_of`.
        notes: What a reader of the Keras model would not think of the file: logits in the place of
            shares, another type; by name of the input or output.
        told: What is to be known of inputs and outputs beyond type and shape, by their name.
        sessions: States that are kept between requests.
        shared: Whether several processes serve it.
    """

    def __init__(
        self, name: str, number: int, directory: Path, settings: Serving, metrics: Metrics
    ) -> None:
        how_many = settings.batching_of(name)
        workers = how_many.num_workers
        share = num_cores() / (workers * settings.num_processes)
        threads = settings.num_threads or max(1, int(share))
        self.name = name
        self.number = number
        opened = open_engines(directory, num_threads=threads, copies=workers)
        self.manifest, engines = opened.manifest, opened.engines
        self.engine: Engine = engines[0]
        self.ranges = ranges_of(self.manifest, self.engine)
        self.notes = _notes(self.manifest, self.engine.signature)
        self.told = _told(self.manifest, self.notes, self.ranges)
        self.shared = settings.num_processes > 1
        self.sessions = Sessions(self.engine.signature)
        self._batches, self._runs = metrics.batches.labels(name), metrics.runs.labels(name)
        self._most_quick = self._quick(opened.seconds) if how_many.wait_seconds == 0 else 0
        how = "at once" if self._most_quick else "by workers"
        LOG.info(
            "%s version %d: %.3g ms an example, answered %s, %s",
            name, number, opened.seconds * 1e3, how,
            "several together" if opened.batches else "one after another",
        )  # fmt: skip
        self._holders, self._closed = 0, False
        self._left = threading.Condition()
        self._batcher = Batcher(
            engines,
            max_batch=how_many.max_batch if opened.batches else 1,
            wait_seconds=how_many.wait_seconds,
            max_waiting=how_many.max_waiting,
            seen=self._seen,
            queued=metrics.waiting.labels(name, number).inc,
        )

    def _quick(self, seconds: float) -> int:
        """How many examples are answered at once; none where the time depends on their sizes."""
        free = any(None in spec.shape[1:] for spec in self.engine.signature.inputs)
        return 0 if free else int(QUICK_SECONDS / seconds)

    def take(self) -> bool:
        """Holds it, so that it is not put away before the block that follows ends; or it was."""
        with self._left:
            self._holders += not self._closed
            return not self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._left:
            self._holders -= 1
            if self._closed and not self._holders:
                self._left.notify_all()

    def is_quick(self, inputs: Arrays) -> bool:
        """Whether some examples are answered sooner than handed to a worker."""
        return _num_examples(inputs) <= self._most_quick

    def run(self, inputs: Arrays) -> Arrays:
        """Answers at once, in the caller's thread."""
        start, rows = time.monotonic(), _num_examples(inputs)
        outputs = self.engine.predict(inputs)
        check_rows(outputs, rows)
        self._seen(rows, 1, time.monotonic() - start)
        return outputs

    def submit(self, inputs: Arrays) -> Future[Arrays]:
        """Asks for answers, see `Batcher.submit`."""
        return self._batcher.submit(inputs)

    def unlike(self, other: Version) -> list[str]:
        """Returns how it differs for clients from another version of the model; a line each."""
        mine, own = self.engine.signature, other.engine.signature
        pairs: dict[str, tuple[Any, Any]] = {
            "the name in its manifest": (self.manifest.name, other.manifest.name),
            "inputs": (_shown(mine.inputs), _shown(own.inputs)),
            "outputs": (_shown(mine.outputs), _shown(own.outputs)),
            "labels": (self.manifest.labels[:3], other.manifest.labels[:3]),
            "number of labels": (len(self.manifest.labels), len(other.manifest.labels)),
            "task": (self.manifest.task, other.manifest.task),
        }
        return [f"{what}: {new!r}, not {old!r}" for what, (new, old) in pairs.items() if new != old]

    def close(self) -> None:
        """Returns when all that was asked has been answered, and nobody holds it."""
        with self._left:
            self._closed = True
            self._left.wait_for(lambda: not self._holders)
        self._batcher.close()

    def _seen(self, rows: int, _: int, seconds: float) -> None:
        self._batches.observe(rows)
        self._runs.observe(seconds)


def _notes(manifest: Manifest, seen: Signature) -> dict[str, str]:
    found = dict.fromkeys(manifest.facts.get("logits", ()), LOGITS)
    for own, one in zip(_specs(manifest.signature), _specs(seen), strict=True):
        if own.dtype != one.dtype:
            said = f"{one.dtype} here: the server turns it into the file's {own.dtype}, or back"
            found[own.name] = "; ".join(filter(None, (found.get(own.name), said)))
    return found


def _told(manifest: Manifest, notes: Mapping[str, str], ranges: Ranges) -> dict[str, str]:
    found: dict[str, str] = {}
    for spec in _specs(manifest.signature):
        ends = ranges.get(spec.name)
        parts = (
            manifest.meanings.get(spec.name),
            notes.get(spec.name),
            ends and f"numbers from {ends[0]} to {ends[1]}",
        )
        if any(parts):
            found[spec.name] = "; ".join(filter(None, parts))
    return found


def _specs(signature: Signature) -> tuple[TensorSpec, ...]:
    return (*signature.inputs, *signature.outputs)


def _shown(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape[1:]}" for spec in specs)


def _num_examples(inputs: Arrays) -> int:
    return len(next(iter(inputs.values())))
