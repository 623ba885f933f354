"""Who writes to a place, and whether one can: asked before any work.

A claim holds the lock of a place (`zoo.common.locks`), which ends with the process. Whoever writes
needs one, and so does a reader that finds the place empty: what is set aside for an instant, and
what a process that was killed has left, is touched under a claim alone, and only where the lock
names it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from zoo.common import locks, renames
from zoo.common.locks import BusyError, Lock

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk answers
LEAST_BYTES = 2**20  # of room, or nothing is begun
LOG = logging.getLogger("zoo")
_TRIES = 200  # of a reader, ten milliseconds apart
_LONGER = len("..01234567.old")  # than the name of a place, what stands beside it


class Claim:
    """A place that this process holds.

    Args:
        place: A file or directory to be.
        lock: Its lock.
    """

    def __init__(self, place: Path, lock: Lock):
        self.place = place
        self._lock, self._process = lock, os.getpid()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Gives a temporary directory beside the place; it is deleted at the end."""
        self._check()
        name = f".{self.place.name}.{secrets.token_hex(4)}"
        self._lock.note(name)
        folder = self.place.with_name(name)
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            if self.held:
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():
                    self._lock.strike(name)

    def put(self, source: Path) -> None:
        """Lets what is in a temporary directory take the place, see `renames.put`."""
        self._check()
        renames.put(source, self.place)

    @property
    def held(self) -> bool:
        """Whether it is this process' own, and not its parent's."""
        return self._process == os.getpid()

    def sweep(self) -> None:
        """Deletes what a process that was killed left of the place, and says so."""
        for name in tuple(self._lock.names):
            folder = self.place.with_name(name)
            aside = renames.aside_of(folder)
            if aside.is_dir() and not self.place.exists():
                aside.rename(self.place)
                LOG.info("%s: brought back; a command was killed while it replaced it", self.place)
            for entry in (folder, aside):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                    if not entry.exists():
                        LOG.info("%s: removed; a command that was killed had left it", entry)
            if not folder.exists() and not aside.exists():
                self._lock.strike(name)

    def release(self) -> None:
        """Ends it; a forked child leaves it to its parent."""
        if self.held:
            self._lock.release()

    def close(self) -> None:
        """Lets go of it in a forked child."""
        self._lock.close()

    def _check(self) -> None:
        if not self.held:
            raise BusyError(f"{self.place}: process {self._process}, which forked, writes there.")


_HELD: dict[Path, tuple[int, Claim | None]] = {}  # thread that holds a place
_GUARD = threading.Lock()


def _forked() -> None:
    """A child holds nothing; its copy of the lock would outlive its parent."""
    global _GUARD
    _GUARD = threading.Lock()
    for _, claimed in _HELD.values():
        if claimed is not None:
            claimed.close()
    _HELD.clear()


os.register_at_fork(after_in_child=_forked)


def place_of(path: str | Path) -> Path:
    """Returns the place that a path names; a link leads to where it points.

    Raises:
        ValueError: It names no place of its own, e.g. `.`, `..` or `/`.
        OSError: Its links lead nowhere.
    """
    path = Path(path)
    if path.name in ("", "..") or "\0" in str(path):
        raise ValueError(
            f"--out: got {str(path)!r}, which is no name of its own; expected e.g. runs/mine."
        )
    try:
        return path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as error:  # a loop is a RuntimeError until 3.13
        raise OSError(f"{path}: cannot be written to (a link that leads to itself).") from error


@contextlib.contextmanager
def claim(place: Path, *, probe: bool = False) -> Iterator[Claim]:
    """Holds a place against other processes and threads, and sweeps what a killed one left.

    Within one, the same thread is given the same claim again.

    Args:
        place: A file or directory to be; the directories above are made.
        probe: Whether they go again, where they are empty.

    Raises:
        BlockingIOError: Another one holds it; the line names it.
        OSError: Nothing can be written there.
    """
    key, me = Path(os.path.realpath(place.parent)) / place.name, threading.get_ident()
    with _GUARD:
        thread, held = _HELD.setdefault(key, (me, None))
    if thread != me:
        raise BusyError(f"{place}: another thread of this process writes there; wait for it.")
    if held is not None:
        yield held
        return
    process = os.getpid()
    try:
        with _above(place, probe=probe):
            made = Claim(place, _locked(place))
            try:
                _HELD[key] = me, made
                check_room(place, LEAST_BYTES)
                made.sweep()
                yield made
            finally:
                made.release()
    finally:
        if process == os.getpid():
            del _HELD[key]


def recover(place: Path) -> bool:
    """Brings back for a reader what a killed command had set aside; whether the place is there.

    While a command that lives replaces it, which takes an instant, this waits.

    Args:
        place: What is to be read.
    """
    for _ in range(_TRIES):
        if place.exists():
            return True
        names = locks.left(place)
        if not any(renames.aside_of(place.with_name(name)).exists() for name in names):
            break
        try:
            with claim(place, probe=True):
                pass
        except BusyError:
            time.sleep(0.01)
        except OSError:
            break
    return place.exists()


def check_room(place: Path, num_bytes: int) -> None:
    """Refuses a place without room for so many bytes.

    Raises:
        OSError: There is less room.
    """
    there = place
    while not there.exists() and there != there.parent:
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < num_bytes:
        raise OSError(
            f"{place}: has room for {free / 1e6:.1f} MB; expected at least {num_bytes / 1e6:.1f} "
            "MB. Make room, or choose another --out."
        )


def unwritable(place: Path, error: OSError) -> OSError:
    """Returns the error of a place that cannot be written to, with its cause in one line."""
    if isinstance(error, BusyError):
        return error
    cause = " ".join((error.strerror or str(error)).split())
    if error.errno == errno.ELOOP:  # of a directory above
        cause = "a link that leads nowhere"
    rest = "make room, or choose" if error.errno in FULL else "choose"
    return type(error)(f"{place}: cannot be written to ({cause}); {rest} another --out.")


@contextlib.contextmanager
def _above(place: Path, *, probe: bool) -> Iterator[None]:
    """Makes the directories above a place; at the end those that were missing go, if `probe`."""
    missing, above = [], place.parent
    while not above.exists():
        missing.append(above)
        above = above.parent
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
    except OSError as error:
        _drop(missing)
        if isinstance(error, FileExistsError):
            error.strerror = "a link that leads nowhere"
        raise unwritable(place, error) from error
    try:
        yield
    finally:
        if probe:
            _drop(missing)


def _drop(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _locked(place: Path) -> Lock:
    try:
        longest = os.pathconf(place.parent, "PC_NAME_MAX")
        if len(os.fsencode(place.name)) + _LONGER > longest:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return Lock(place)
    except OSError as error:
        raise unwritable(place, error) from error
