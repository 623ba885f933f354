"""Who writes to a place, and whether one can: asked before any work.

A claim is a lock of the kernel (`flock`) on `.NAME.lock` beside the place. It ends with the process
that holds it, so what is found of a place under its claim, a process that was killed has left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from zoo.common import renames

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk answers
LEAST_BYTES = 2**20  # of room, or nothing is begun
LOG = logging.getLogger("zoo")
_BACK = "%s: brought back; a command was killed while it replaced it"

_HELD: dict[Path, tuple[int, int]] = {}  # thread that holds a place, and how many times
_GUARD = threading.Lock()


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
def claim(place: Path, *, probe: bool = False) -> Iterator[None]:
    """Holds a place against other processes and threads, and sweeps what a killed one left.

    Args:
        place: A file or directory to be; the directories above are made.
        probe: Whether they go again, where they are empty.

    Raises:
        BlockingIOError: Another one holds it; the line names it.
        OSError: Nothing can be written there.
    """
    key, me = Path(os.path.realpath(place.parent)) / place.name, threading.get_ident()
    with _GUARD:
        thread, count = _HELD.get(key, (me, 0))
        if thread != me:
            raise _BusyError(f"{place}: another thread of this process writes there; wait for it.")
        _HELD[key] = me, count + 1
    try:
        if count:
            yield
            return
        made = _make_parents(place)
        try:
            with _locked(place):
                check_room(place, LEAST_BYTES)
                _sweep(place)
                yield
        finally:
            if probe:
                _drop(made)
    finally:
        with _GUARD:
            if count:
                _HELD[key] = me, count
            else:
                del _HELD[key]


@contextlib.contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """Gives a temporary directory beside a place that is claimed; it is deleted at the end."""
    with tempfile.TemporaryDirectory(
        prefix=f".{place.name}.", dir=place.parent, ignore_cleanup_errors=True
    ) as holder:
        yield Path(holder)


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


class _BusyError(BlockingIOError):
    """The line of a refused claim, without a number before it."""

    def __str__(self) -> str:
        return str(self.args[0])


def _make_parents(place: Path) -> list[Path]:
    """Makes the directories above; returns those that were missing, the innermost first."""
    missing, above = [], place.parent
    while not above.exists():
        missing.append(above)
        above = above.parent
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
    except OSError as error:
        _drop(missing)
        raise unwritable(place, error) from error
    return missing


def _drop(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def unwritable(place: Path, error: OSError) -> OSError:
    """Returns the error of a place that cannot be written to, with its cause in one line."""
    if isinstance(error, _BusyError):
        return error
    cause = " ".join((error.strerror or str(error)).split())
    if error.errno in (errno.ELOOP, errno.EEXIST):  # of a directory above
        cause = "a link that leads nowhere"
    rest = "make room, or choose" if error.errno in FULL else "choose"
    return type(error)(f"{place}: cannot be written to ({cause}); {rest} another --out.")


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Holds the lock file; it is deleted at the end."""
    path = place.with_name(f".{place.name}.lock")
    try:
        file = _lock(path, place)
    except OSError as error:
        raise unwritable(place, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # before the lock ends: nobody else deletes the file of another
        os.close(file)


def _lock(path: Path, place: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(path, file):
                _tell(path, file)
                return file
        except BlockingIOError:
            holder = _holder(file)
            os.close(file)
            raise _BusyError(
                f"{place}: {holder} writes there; wait for it, or choose another --out."
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                LOG.warning("%s: this file system has no locks; nobody else may write", place)
                return file
            os.close(file)
            raise
        os.close(file)  # its holder deleted it between the two calls


def _tell(path: Path, file: int) -> None:
    """Writes who holds the lock, which also shows that there can be written."""
    try:
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"pid": os.getpid(), "command": _command()}).encode())
    except OSError:
        path.unlink()
        raise


def _is(path: Path, file: int) -> bool:
    """Whether an open file is the one at a path."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(file)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _holder(file: int) -> str:
    try:
        told = json.loads(os.pread(file, 4096, 0))
        return f"process {told['pid']} ({told['command']})"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"


def _command() -> str:
    """What was typed, in short."""
    program, *arguments = sys.argv or ["python"]
    text = shlex.join([Path(program).name, *arguments])
    return text if len(text) <= 200 else f"{text[:200]}..."


def _sweep(place: Path) -> None:
    """Deletes what killed processes left of a place, which is claimed, and says so."""
    if renames.recover(place):
        LOG.info(_BACK, place)
    name = re.escape(place.name)
    pattern = re.compile(rf"\.{name}\.(?:replaced|[a-z0-9_]{{8}}|(?P<pid>\d+)\.(?:partial|old))")
    for entry in _beside(place):
        match = pattern.fullmatch(entry.name)
        if match is None or not entry.is_dir() or entry.is_symlink():
            continue
        if match["pid"] is None and not _ours(entry, place):
            continue
        if match["pid"] and _lives(int(match["pid"])):
            continue
        # Earlier versions kept the old one here while they put the new one in its place.
        old = entry if entry.name.endswith(".old") else entry / "old"
        if old.is_dir() and not place.exists():
            old.rename(place)
            LOG.info(_BACK, place)
        if entry.exists():
            shutil.rmtree(entry, ignore_errors=True)
            LOG.info("%s: removed; a command that was killed had left it", entry)


def _beside(place: Path) -> list[Path]:
    try:
        return sorted(place.parent.iterdir())
    except PermissionError:  # one may write there and not list it
        return []


def _ours(entry: Path, place: Path) -> bool:
    """Whether a hidden directory holds nothing but what we put into one."""
    if entry.name == f".{place.name}.replaced":
        return True
    return {part.name for part in entry.iterdir()} <= {"new", "old", place.name}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
