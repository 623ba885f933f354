"""The models of a server, their versions, and the change from one version to the next.

A directory is a deployable, whose version is 1, or holds deployables that are named by their
versions: `vgg16/1`, `vgg16/2`. Of the latter the greatest is served, and those that have a label. A
new one is loaded and run before it takes over; one that cannot be loaded is refused, and what was
served goes on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from export.manifest import FILE, Manifest
from serving.batching import Batcher
from serving.engines import Arrays, Engine, open_engines
from serving.metrics import Metrics
from serving.sessions import Sessions
from serving.settings import Serving

LOG = logging.getLogger("serving")
QUICK_SECONDS = 0.0005  # what runs sooner is not handed to a worker: the way there takes as long
_T = TypeVar("_T")


class MissingError(LookupError):
    """There is no such model, version or label."""


class Version:
    """A version of a model that answers.

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
        workers = settings.num_workers
        threads = settings.num_threads or max(1, (os.cpu_count() or 1) // workers)
        self.name = name
        self.number = number
        opened = open_engines(directory, num_threads=threads, copies=workers)
        self.manifest, engines = opened.manifest, opened.engines
        self.engine: Engine = engines[0]
        self.shared = settings.num_processes > 1
        self.sessions = Sessions(self.engine.signature)
        self._batches, self._runs = metrics.batches.labels(name), metrics.runs.labels(name)
        self._waiting = metrics.waiting.labels(name)
        seconds = opened.seconds
        self._most_quick = int(QUICK_SECONDS / seconds) if settings.wait_seconds == 0 else 0
        how = "at once" if self._most_quick else "by workers"
        LOG.info("%s version %d: %.3g ms an example, answered %s", name, number, seconds * 1e3, how)
        self._batcher = Batcher(
            engines,
            max_batch=settings.max_batch if self.engine.batches else 1,
            wait_seconds=settings.wait_seconds,
            max_waiting=settings.max_waiting,
            seen=self._seen,
        )

    def is_quick(self, inputs: Arrays) -> bool:
        """Whether some examples are answered sooner than handed to a worker."""
        return len(next(iter(inputs.values()))) <= self._most_quick

    def run(self, inputs: Arrays) -> Arrays:
        """Answers at once, in the caller's thread."""
        start = time.monotonic()
        outputs = self.engine.predict(inputs)
        self._seen(len(next(iter(inputs.values()))), 1, time.monotonic() - start)
        return outputs

    def submit(self, inputs: Arrays) -> Future[Arrays]:
        """Asks for answers, see `Batcher.submit`."""
        answer = self._batcher.submit(inputs)
        self._waiting.set(self._batcher.waiting)
        return answer

    def close(self) -> None:
        """Returns when all that was asked has been answered."""
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
    """

    def __init__(self, name: str, base: Path, settings: Serving, metrics: Metrics) -> None:
        self.name = name
        self.base = base
        self.versions: dict[int, Version] = {}
        self.refused: dict[int, Exception] = {}
        self._settings = settings
        self._metrics = metrics
        self._stamps: dict[int, float] = {}  # when what is there was written

    def pick(self, number: int | None = None, label: str | None = None) -> Version:
        """Returns the version that is asked for; the greatest where none is, or 0.

        Raises:
            MissingError: It is not served.
        """
        if label is not None:
            if label not in self._settings.labels:
                known = ", ".join(map(repr, self._settings.labels)) or "none"
                raise MissingError(f"label: got {label[:80]!r}; this server has {known}.")
            number = self._settings.labels[label]
        versions = self.versions
        chosen = number or max(versions)
        if chosen not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise MissingError(f"version: got {chosen}; this server has {known}.")
        return versions[chosen]

    def refresh(self) -> None:
        """Loads what is new, and puts away what is not served any more."""
        found = dict(_numbered(self.base)) or {1: self.base}
        wanted = self._wanted(found)
        for number in sorted(found, reverse=True):
            if number not in wanted and self.versions:
                continue  # an older one stands in where the newest was refused at the start
            stamp = _stamp(found[number])
            if number in self.versions or self._stamps.get(number) == stamp:
                continue  # it answers, or was refused and is the same
            self._stamps[number] = stamp
            self._load(number, found[number])
        served = self._wanted({n: found[n] for n in self.versions if n in found})
        for number in set(self.versions) - served if served else ():
            old, self.versions = self.versions[number], _without(self.versions, number)
            self._stamps.pop(number, None)
            self._metrics.ready.labels(self.name, number).set(0)
            old.close()
            LOG.info("%s version %d: put away", self.name, number)
        self.refused = {n: why for n, why in self.refused.items() if n in found}

    def _wanted(self, found: dict[int, Path]) -> set[int]:
        """The greatest of some versions, and those with a label."""
        labelled = {number for number in self._settings.labels.values() if number in found}
        return labelled | ({max(found)} if found else set())

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
        if child.name.isdecimal() and int(child.name) > 0 and (child / FILE).is_file():
            yield int(child.name), child


def _stamp(directory: Path) -> float:
    """When what lies in a directory was written last."""
    try:
        return max(path.stat().st_mtime for path in [directory, *directory.iterdir()])
    except OSError:  # it is being replaced
        return 0.0


def _without(known: dict[int, _T], number: int) -> dict[int, _T]:
    return {key: value for key, value in known.items() if key != number}
