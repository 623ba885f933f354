"""Renames that leave the old or the new, and reach the disk.

Where the file system has it, two directories change places in one system call (`renameat2`, Linux).
Elsewhere the old one steps aside for an instant, beside the directory that the new one comes from;
`zoo.common.claims` brings it back after a kill.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from pathlib import Path

_AT_FDCWD, _EXCHANGE = -100, 2
_LACKING = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM)


def put(source: Path, place: Path) -> None:
    """Moves a file or a directory to a place; what was there ends up at `source`, or is gone.

    The content is synced before, the directory of the place after.

    Args:
        source: On the same file system.
        place: May exist.

    Raises:
        OSError: It cannot be moved; what was at the place is still there.
    """
    sync(source)
    if source.is_file() and not place.is_dir():
        source.replace(place)
    elif not place.exists():
        source.rename(place)
    elif not _exchange(source, place):
        _step_aside(source, place)
    sync_directory(place.parent)


def sync(path: Path) -> None:
    """Sees to it that a file, or all that is in a directory, is on the disk."""
    if not path.is_dir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return
    for folder, _, names in os.walk(path):
        for name in names:
            sync(Path(folder, name))
        sync_directory(Path(folder))


def sync_directory(path: Path) -> None:
    """Sees to it that the names in a directory are on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Lets two paths change places; whether this system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _LACKING:
        return False
    raise OSError(code, os.strerror(code), str(other))


def aside_of(folder: Path) -> Path:
    """Returns where that stands aside which is replaced by something in a temporary directory."""
    return folder.with_name(f"{folder.name}.old")


def _step_aside(source: Path, place: Path) -> None:
    """Replaces in two renames; an error in between, or Ctrl-C, undoes the first."""
    aside = aside_of(source.parent)
    try:
        place.rename(aside)
        source.rename(place)
    except BaseException:
        if aside.exists() and not place.exists():
            aside.rename(place)
        raise
    shutil.rmtree(aside, ignore_errors=True)
