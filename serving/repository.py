"""The models of a server, their versions, and the change from one version to the next.

A directory is a deployable, whose version is 1, or holds deployables that are named by their
versions: `vgg16/1`, `vgg16/2`. Of the latter the greatest is served, and those that have a label. A
new one is loaded and run before it takes over; one that cannot be loaded is refused, and what was
served goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self, TypeVar

from export.manifest import FILE, Manifest
from serving.batching import Batcher, check_rows
from serving.cores import num_cores
from serving.engines import Arrays, Engine, open_engines
from serving.metrics import Metrics
from serving.sessions import Sessions
from serving.settings import Serving

LOG = logging.getLogger("serving")
QUICK_SECONDS = 0.0005  # what runs sooner is not handed to a worker: the way there takes as long
MOST_NUMBER = 2**63 - 1  # of a version
_T = TypeVar("_T")


class MissingError(LookupError):
    """There is no such model, version or label."""


class Version:
    """A version of a model that answers; within a `with` block that begins with `take`, it stays.

    Attributes:
        name: Name of the model.
        number: Its version.
        manifest: What the deployable says of itself.
        engine: What runs it; of several workers the first.
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

    def close(self) -> None:
        """Returns when all that was asked has been answered, and nobody holds it."""
        with self._left:
            self._closed = True
            self._left.wait_for(lambda: not self._holders)
        self._batcher.close()

    def _seen(self, rows: int, _: int, seconds: float) -> None:
        self._batches.observe(rows)
        self._runs.observe(seconds)


class Model:
    """A model and its versions.

    Attributes:
        name: In paths.
        base: Directory of its versions; of a deployable alone the deployable.
        versions: Those that answer, by number.
        refused: Why a version that is there does not answer, by number.
        labels: Versions that have a name, by that name.
    """

    def __init__(self, name: str, base: Path, settings: Serving, metrics: Metrics) -> None:
        self.name = name
        self.base = base
        self.versions: dict[int, Version] = {}
        self.refused: dict[int, Exception] = {}
        self.labels = settings.labels_of(name)
        self._settings = settings
        self._metrics = metrics
        self._stamps: dict[int, float] = {}  # when what is there was written

    def pick(self, number: int | None = None, label: str | None = None) -> Version:
        """Returns the version that is asked for; the greatest where none is.

        So it is of 0, as long as there is no version 0: what OpenVINO's client says unless told.

        Raises:
            MissingError: It is not served.
        """
        if label is not None:
            if label not in self.labels:
                known = ", ".join(map(repr, self.labels)) or "none"
                raise MissingError(f"label: got {label[:80]!r}; this server has {known}.")
            number = self.labels[label]
        versions = self.versions
        open_to_all = number is None or (number == 0 and 0 not in versions)
        chosen = max(versions) if open_to_all else number
        if chosen not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise MissingError(f"version: got {chosen}; this server has {known}.")
        return versions[chosen]

    def refresh(self) -> None:
        """Loads what is new, and puts away what is not served any more."""
        found = dict(_numbered(self.base)) or {1: self.base}
        labelled = {number for number in self.labels.values() if number in found}
        greatest = next((n for n in sorted(found, reverse=True) if self._has(n, found[n])), None)
        for number in labelled:
            self._has(number, found[number])
        # While nothing else answers, what was served goes on, also if its files are gone.
        served = labelled | {greatest} if greatest is not None else set(self.versions)
        for number in set(self.versions) - served:
            old, self.versions = self.versions[number], _without(self.versions, number)
            self._stamps.pop(number, None)
            self._metrics.ready.labels(self.name, number).set(0)
            old.close()
            LOG.info("%s version %d: put away", self.name, number)
        self.refused = {n: why for n, why in self.refused.items() if n in found}

    def _has(self, number: int, directory: Path) -> bool:
        """Whether a version answers; one that is new, or was refused and is another, is loaded."""
        stamp = _stamp(directory)
        if number not in self.versions and self._stamps.get(number) != stamp:
            self._stamps[number] = stamp
            self._load(number, directory)
        return number in self.versions

    def _load(self, number: int, directory: Path) -> None:
        try:
            loaded = Version(self.name, number, directory, self._settings, self._metrics)
        except (OSError, ValueError) as error:
            self.refused = {**self.refused, number: error}
            LOG.warning("%s version %d: refused: %s", self.name, number, error)
            return
        self.refused = _without(self.refused, number)
        self.versions = {**self.versions, number: loaded}
        self._metrics.ready.labels(self.name, number).set(1)
        LOG.info("%s version %d: %s, ready", self.name, number, loaded.engine.runtime)


class Repository:
    """All models of a server.

    Args:
        directories: Deployables, or directories of their versions.
        settings: Of the server.
        metrics: Counters of the server.

    Attributes:
        models: By name.

    Raises:
        FileNotFoundError: A directory, its manifest or its model file is missing.
        ValueError: A directory cannot be served, or two have one name.
    """

    def __init__(
        self, directories: Sequence[str | Path], settings: Serving, metrics: Metrics
    ) -> None:
        self.models: dict[str, Model] = {}
        if not directories:
            raise ValueError("Server: got no directory; expected what `zoo export` wrote.")
        for directory in map(Path, directories):
            base = Path.cwd() / directory  # not resolved: links may be a loop
            versions = dict(_numbered(base))
            name = base.name if versions else Manifest.read(directory).name
            if not name or any(sign in name for sign in "/:"):
                raise ValueError(
                    f"{directory}: got name {name!r}; expected one without '/' and ':'."
                )
            if name in self.models:
                raise ValueError(f"{directory}: a model named {name!r} is served already.")
            model = self.models[name] = Model(name, base, settings, metrics)
            model.refresh()
            if not model.versions:
                raise model.refused[max(model.refused)]
        if unknown := set(settings.batching) - set(self.models):
            raise ValueError(
                f"batching: got {', '.join(map(repr, sorted(unknown)))}; expected names of models: "
                f"{', '.join(map(repr, self.models))}."
            )
        self._poll_seconds = settings.poll_seconds
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def pick(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """Returns a version of a model.

        Raises:
            MissingError: It is not served.
        """
        if name not in self.models:
            known = ", ".join(map(repr, self.models))
            raise MissingError(f"model: got {name[:80]!r}; this server has {known}.")
        return self.models[name].pick(number, label)

    def lease(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """Returns a version as `pick` does, for a `with` block, in which it is not put away."""
        while not (version := self.pick(name, number, label)).take():
            pass  # it was put away this moment, and is not picked again
        return version

    def watch(self) -> None:
        """Looks for new versions from now on."""
        if any(dict(_numbered(model.base)) for model in self.models.values()):
            self._watcher.start()

    def close(self) -> None:
        """Looks no more, and returns when all that was asked has been answered."""
        self._stop.set()
        if self._watcher.ident is not None:
            self._watcher.join()
        for model in self.models.values():
            for version in model.versions.values():
                version.close()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            for model in self.models.values():
                try:
                    model.refresh()
                except Exception:  # the watch goes on, and so does what is served
                    LOG.exception("%s: could not look for versions", model.name)


def _numbered(base: Path) -> Iterator[tuple[int, Path]]:
    """The versions within a directory: numbers that hold a manifest."""
    if (base / FILE).is_file():
        return
    for child in base.iterdir() if base.is_dir() else ():
        named = child.name.isdecimal() and len(child.name) <= len(str(MOST_NUMBER))
        if named and 0 < int(child.name) <= MOST_NUMBER and (child / FILE).is_file():
            yield int(child.name), child


def _num_examples(inputs: Arrays) -> int:
    return len(next(iter(inputs.values())))


def _stamp(directory: Path) -> float:
    """When what lies in a directory was written last."""
    try:
        return max(path.stat().st_mtime for path in [directory, *directory.iterdir()])
    except OSError:  # it is being replaced
        return 0.0


def _without(known: dict[int, _T], number: int) -> dict[int, _T]:
    return {key: value for key, value in known.items() if key != number}
