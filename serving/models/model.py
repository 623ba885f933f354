"""A model of a server, its versions, and the change from one to the next.

A new one is loaded and run before it takes over; one that cannot be loaded is refused, and what was
served goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from export.manifest import FILE, Manifest
from serving.metrics import Metrics
from serving.models.versions import Version
from serving.settings import Serving

LOG = logging.getLogger("serving")
MOST_NUMBER = 2**63 - 1  # of a version
Stamp = tuple[int, ...]
_T = TypeVar("_T")


class MissingError(LookupError):
    """There is no such model, version or label."""


class Model:
    """A model and its versions.

    Attributes:
        name: In paths.
        base: Directory of its versions; of a deployable alone the deployable.
        versions: Those that answer, by number.
        refused: Why a version that is there does not answer, by number.
        waiting: Numbers of those that have no manifest yet, as they are being copied.
        labels: Versions that have a name, by that name.
    """

    def __init__(self, name: str, base: Path, settings: Serving, metrics: Metrics) -> None:
        self.name = name
        self.base = base
        self.versions: dict[int, Version] = {}
        self.refused: dict[int, Exception] = {}
        self.waiting: set[int] = set()
        self.labels = settings.labels_of(name)
        self._settings = settings
        self._metrics = metrics
        self._stamps: dict[int, Stamp] = {}  # of what is there

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
            if number not in self.versions:
                known = ", ".join(map(str, sorted(self.versions)))
                raise MissingError(
                    f"label: {label!r} is of version {number}; this server has {known}."
                )
        versions = self.versions
        open_to_all = number is None or (number == 0 and 0 not in versions)
        chosen = max(versions) if open_to_all else number
        if chosen not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise MissingError(f"version: got {chosen}; this server has {known}.")
        return versions[chosen]

    def refresh(self) -> None:
        """Loads what is new, and puts away what is not served any more."""
        found = dict(numbered(self.base)) or {1: self.base}
        self._wait(found)
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

    def _wait(self, found: Mapping[int, Path]) -> None:
        waiting = {number for number, _ in _children(self.base)} - set(found)
        for number in sorted(waiting - self.waiting):
            LOG.warning("%s version %d: waits for its %s", self.name, number, FILE)
        self.waiting = waiting

    def _has(self, number: int, directory: Path) -> bool:
        """Whether a version answers; one that is new, or was refused and is another, is loaded."""
        stamp = _stamp(directory)
        if self._stamps.get(number) != stamp:
            self._stamps[number] = stamp
            if number not in self.versions:
                self._load(number, directory)
            elif _sha256(directory) != self.versions[number].manifest.sha256:
                LOG.warning(
                    "%s version %d: its files were replaced; what was loaded is served on. Give "
                    "what is new another number.", self.name, number,
                )  # fmt: skip
        return number in self.versions

    def _load(self, number: int, directory: Path) -> None:
        try:
            loaded = Version(self.name, number, directory, self._settings, self._metrics)
        except (OSError, ValueError) as error:
            self.refused = {**self.refused, number: error}
            LOG.warning("%s version %d: refused: %s", self.name, number, error)
            return
        for name, note in loaded.notes.items():
            LOG.warning("%s version %d: %r: %s", self.name, number, name, note)
        if self.versions:
            before = max(self.versions)
            for unlike in loaded.unlike(self.versions[before]):
                LOG.warning(
                    "%s version %d: unlike version %d: %s", self.name, number, before, unlike
                )
        self.refused = _without(self.refused, number)
        self.versions = {**self.versions, number: loaded}
        self._metrics.ready.labels(self.name, number).set(1)
        LOG.info("%s version %d: %s, ready", self.name, number, loaded.engine.runtime)


def numbered(base: Path) -> Iterator[tuple[int, Path]]:
    """The versions within a directory: numbers that hold a manifest."""
    return ((number, path) for number, path in _children(base) if (path / FILE).is_file())


def _children(base: Path) -> Iterator[tuple[int, Path]]:
    """The directories within one that are called as versions are; none within a deployable."""
    if (base / FILE).is_file() or not base.is_dir():
        return
    for child in base.iterdir():
        named = child.name.isdecimal() and len(child.name) <= len(str(MOST_NUMBER))
        if named and 0 < int(child.name) <= MOST_NUMBER and child.is_dir():
            yield int(child.name), child


def _stamp(directory: Path) -> Stamp:
    """Changes when anything within a directory is written, added or taken away."""
    try:
        found = [path.stat() for path in (directory, *directory.rglob("*"))]
    except OSError:  # it is being replaced
        return ()
    return max(one.st_ctime_ns for one in found), sum(one.st_size for one in found), len(found)


def _sha256(directory: Path) -> str:
    """What a manifest says of its file; nothing where there is none to be read."""
    try:
        return Manifest.read(directory).sha256
    except (OSError, ValueError):
        return ""


def _without(known: dict[int, _T], number: int) -> dict[int, _T]:
    return {key: value for key, value in known.items() if key != number}
