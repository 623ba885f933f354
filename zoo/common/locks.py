"""The lock of a place: a file `.NAME.lock` beside it, which the kernel locks (`flock`).

It says who holds it, and names what its holder keeps beside the place. It is deleted at the end;
that of a process that was killed stays, is free, and tells the next one what is to be tidied up.
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
import sys
from pathlib import Path
from typing import Any

LOG = logging.getLogger("zoo")
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_MOST_BYTES = 65536  # of a lock file


class BusyError(BlockingIOError):
    """The line of a refused claim, without a number before it."""

    def __str__(self) -> str:
        return str(self.args[0])


class Lock:
    """The lock of a place, held from here to `release`.

    Args:
        place: A file or directory to be, in a directory that is there.

    Attributes:
        names: What stands beside the place and is the holder's, by name; that of a holder who was
            killed at first.

    Raises:
        BusyError: Another process holds it; the line names it.
        FileExistsError: A file of somebody else's has the name of the lock.
        OSError: Nothing can be written there.
    """

    def __init__(self, place: Path):
        self._path = path_of(place)
        self.names: list[str] = []
        while not self._take(place):
            pass

    def note(self, name: str) -> None:
        """Writes down the name of what will stand beside the place, before it does.

        Raises:
            OSError: It cannot be written.
        """
        self.names.append(name)
        self._tell()

    def strike(self, name: str) -> None:
        """Forgets a name; what bore it is gone."""
        self.names.remove(name)
        with contextlib.suppress(OSError):
            self._tell()

    def release(self) -> None:
        """Ends it; the file stays where something that it names could not be deleted."""
        if not self.names:
            with contextlib.suppress(OSError):
                self._path.unlink()  # before the lock ends: nobody deletes the file of another
        self.close()

    def close(self) -> None:
        """Closes the file alone: what a forked child does with that of its parent."""
        os.close(self._file)

    def _take(self, place: Path) -> bool:
        """Opens the file and locks it; not where its holder deletes it at this moment."""
        self._file, self._writable = _open(self._path)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"{place}: {_holder(self._file)} writes there; wait for it, or choose another "
                    "--out."
                ) from None
            except OSError as error:
                if error.errno not in _WITHOUT_LOCKS:
                    raise
                LOG.warning("%s: this file system has no locks; nobody else may write", place)
            if not _is(self._path, self._file):
                self.close()
                return False
            self.names = [*self.names, *_names(place, _told(self._path, self._file))]
            if not self._writable:
                # Of another user. Where it may not be deleted (`/tmp`), its lock has to do.
                with contextlib.suppress(OSError):
                    self._path.unlink()
                    self.close()
                    return False
            self._tell()
        except BaseException:
            with contextlib.suppress(OSError):
                self.close()
            raise
        return True

    def _tell(self) -> None:
        """Writes who holds the lock, which also shows that there can be written."""
        if not self._writable:
            return
        text = json.dumps({"pid": os.getpid(), "command": _command(), "names": self.names})
        try:
            os.pwrite(self._file, text.encode(), 0)
            os.ftruncate(self._file, len(text.encode()))
        except OSError:
            if not self.names:
                self._path.unlink()
            raise


def path_of(place: Path) -> Path:
    """Returns where the lock of a place is."""
    return place.with_name(f".{place.name}.lock")


def left(place: Path) -> list[str]:
    """Returns what stands, or stood, beside a place by what its lock says; the lock is not taken.

    Args:
        place: A file or directory to be.
    """
    path = path_of(place)
    try:
        file = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return []
    try:
        return _names(place, _told(path, file))
    except OSError:
        return []
    finally:
        os.close(file)


def _open(path: Path) -> tuple[int, bool]:
    """Opens or makes a lock file; whether it can be written."""
    while True:
        try:
            return os.open(path, os.O_RDWR | _FLAGS), True
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # it came meanwhile
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644)
                os.fchmod(file, 0o644)  # others have to read it, to lock it
                return file, True
        except PermissionError:
            try:
                return os.open(path, os.O_RDONLY | _FLAGS), False
            except PermissionError as error:
                raise PermissionError(
                    error.errno, f"{path} is another user's; that user may delete it"
                ) from error


def _is(path: Path, file: int) -> bool:
    """Whether an open file is the one at a path."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(file)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _told(path: Path, file: int) -> dict[str, Any]:
    """What a lock file says; nothing where it is empty: its holder was killed early."""
    text = os.pread(file, _MOST_BYTES, 0).decode("utf-8", "replace")
    if not text:
        return {}
    try:
        told = json.JSONDecoder().raw_decode(text)[0]  # behind it may be the rest of a longer one
        if isinstance(told, dict) and {"pid", "command"} <= told.keys():
            return told
    except ValueError:
        pass
    raise FileExistsError(errno.EEXIST, f"{path} is no lock of the zoo's; move it away")


def _names(place: Path, told: dict[str, Any]) -> list[str]:
    """The names in a lock file that can be ours."""
    found = told.get("names", [])
    ours = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}")
    return [name for name in found if isinstance(name, str) and ours.fullmatch(name)]


def _holder(file: int) -> str:
    try:
        told = json.JSONDecoder().raw_decode(os.pread(file, _MOST_BYTES, 0).decode())[0]
        # What another user left may be locked by one who cannot write down its name.
        os.kill(told["pid"], 0)
    except PermissionError:
        pass
    except (ValueError, KeyError, TypeError, OSError, OverflowError):
        return "another process"
    return f"process {told['pid']} ({told['command']})"


def _command() -> str:
    """What was typed, in short."""
    program, *arguments = sys.argv or ["python"]
    text = shlex.join([Path(program).name, *arguments])
    return text if len(text) <= 200 else f"{text[:200]}..."
