"""Directories and files that are whole or not there at all: written aside, then renamed.

What stands at a path is the old or the new, also when the process is killed. Where the file system
can exchange two names (Linux with ext4, XFS, Btrfs, tmpfs) that holds at every instant. Elsewhere,
as on NFS and macOS, nothing stands there between two renames; a kill at that moment leaves the old
one beside it, and the next who names the place brings it back (`zoo.common.renames`).

Who writes to a place holds it (`zoo.common.claims`), from before the work on: a place that cannot
be written is refused at once.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from zoo.common import claims
from zoo.common.claims import place_of

BUNDLE = "card.json"  # a file that every bundle holds
_KINDS = {BUNDLE: "a bundle", "manifest.json": "a deployable", "records.json": "a pack"}
NEW = "new"  # in the temporary directory, what will take its place


def check_free(path: str | Path, *, force: bool, mark: str = BUNDLE) -> None:
    """Refuses a place that is taken, cannot be written to, or holds something else.

    Args:
        path: A directory to be.
        force: Whether what is there may be replaced; never something that lacks the mark.
        mark: A file that every directory of this kind holds; that of a bundle by default. Empty:
            any directory will do.

    Raises:
        FileExistsError: `path` exists and `force` is not set, or it lacks the mark.
        BlockingIOError: Another process writes to it.
        OSError: It cannot be written to.
        ValueError: It names no place, e.g. `.`.
    """
    place = place_of(path)
    _check_taken(place, force=force, mark=mark)
    with claims.claim(place, probe=True):
        _check_taken(place, force=force, mark=mark)  # the claim may have brought it back


@contextlib.contextmanager
def claimed(path: str | Path, *, force: bool = True, mark: str = BUNDLE) -> Iterator[Path]:
    """Holds a place that will be written to; what a killed command left of it is swept first.

    Within one, the same thread may claim the place again.

    Args:
        path: A directory to be.
        force: Whether what is there may be replaced.
        mark: See `check_free`.

    Yields:
        The place itself, where `path` is a link to it.

    Raises:
        FileExistsError, BlockingIOError, OSError, ValueError: See `check_free`.
    """
    path = place_of(path)
    _check_taken(path, force=force, mark=mark)
    with claims.claim(path):
        _check_taken(path, force=force, mark=mark)  # it may have come meanwhile
        yield path


@contextlib.contextmanager
def staged(path: str | Path, *, force: bool = False, mark: str = BUNDLE) -> Iterator[Path]:
    """Gives a temporary directory that takes the place of `path` when the block ends well.

    Args:
        path: The directory to be.
        force: Whether it may replace what is there.
        mark: See `check_free`.

    Raises:
        FileExistsError, BlockingIOError, OSError, ValueError: See `check_free`.
    """
    with (
        claimed(path, force=force, mark=mark) as place,
        claims.claim(place) as claim,
        claim.scratch() as holder,
    ):
        stage = holder / NEW
        with _told(place, holder):
            stage.mkdir()
            yield stage
            _check_taken(place, force=force, mark=mark)
            claim.put(stage)


@contextlib.contextmanager
def staged_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary file, of the same ending, that takes the place of `path` at the end.

    Raises:
        OSError: It cannot be written to.
        ValueError: It names no place, e.g. `.`.
    """
    place = place_of(path)
    if place.is_dir():
        raise IsADirectoryError(f"{path}: is a directory; expected a file to write.")
    with claims.claim(place) as claim, claim.scratch() as holder:
        partial = holder / place.name
        with _told(place, holder):
            yield partial
            claim.put(partial)


def check_file(path: str | Path, *, force: bool = False, read: Iterable[str | Path] = ()) -> None:
    """Refuses a file that cannot be written to, or is there and `force` is not set.

    Args:
        path: A file to be.
        force: Whether what is there may be replaced; never what is read.
        read: Files that are read.

    Raises:
        FileExistsError: It exists, and `force` is not set; or it is one that is read.
        OSError: It cannot be written to.
        ValueError: It names no place, e.g. `.`.
    """
    place = place_of(path)
    if place.is_dir():
        raise IsADirectoryError(f"{path}: is a directory; expected a file to write.")
    for one in read if place.exists() else ():
        if Path(one).exists() and place.samefile(one):
            raise FileExistsError(f"{path}: is what is read, {one}; choose another name.")
    if place.exists() and not force:
        raise FileExistsError(f"{path}: exists; choose another name, or --force to replace it.")
    with claims.claim(place, probe=True):
        pass


def check_apart(path: Path, source: Path) -> None:
    """Refuses to write where what is read lies, with `--force` too.

    Raises:
        ValueError: `path` is what is read, or holds it.
    """
    place, read = path.resolve(), source.resolve()
    if place == read or place in read.parents:
        raise ValueError(f"{path}: is what is read, {source}; expected another --out.")


def check_room(path: str | Path, num_bytes: int) -> None:
    """Refuses a place without room.

    Args:
        path: A file or directory to be.
        num_bytes: What will be written at least.

    Raises:
        OSError: There is less room.
    """
    claims.check_room(place_of(path), num_bytes)


def remove(path: Path) -> None:
    """Deletes a directory that may be absent."""
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _told(place: Path, holder: Path) -> Iterator[None]:
    """Names the place where the system refuses to write, e.g. for want of room."""
    try:
        yield
    except OSError as error:
        ours = error.filename is None or str(error.filename).startswith(str(holder))
        if error.errno is None or not ours:
            raise
        raise claims.unwritable(place, error) from error


def _check_taken(path: Path, *, force: bool, mark: str) -> None:
    if not path.exists():
        return
    if not force:
        raise FileExistsError(f"{path}: exists; choose another --out, or --force to replace it.")
    if mark and not (path / mark).is_file():
        kind = _KINDS.get(mark, f"ours, as it has no {mark}")
        raise FileExistsError(f"{path}: exists and is not {kind}; choose another --out.")
