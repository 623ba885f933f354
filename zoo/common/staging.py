"""Directories that are whole or not there at all: written aside, then renamed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

BUNDLE = "card.json"  # a file that every bundle holds


def check_free(path: Path, *, force: bool, mark: str = BUNDLE) -> None:
    """Refuses a path that is taken, and, even with `force`, one that holds something else.

    Args:
        path: A directory to be.
        force: Whether what is there may be replaced.
        mark: A file that every directory of this kind holds; that of a bundle by default.

    Raises:
        FileExistsError: `path` exists and `force` is not set, or it lacks the mark.
    """
    if not path.exists():
        return
    if not force:
        raise FileExistsError(f"{path}: exists; choose another --out, or --force to replace it.")
    if not (path / mark).is_file():
        kind = "a bundle" if mark == BUNDLE else f"ours, as it has no {mark}"
        raise FileExistsError(f"{path}: exists and is not {kind}; choose another --out.")


@contextlib.contextmanager
def staged(path: str | Path, *, force: bool = False, mark: str = BUNDLE) -> Iterator[Path]:
    """Gives a temporary directory that takes the place of `path` when the block ends well.

    Args:
        path: The directory to be.
        force: Whether it may replace what is there.
        mark: See `check_free`.

    Raises:
        FileExistsError: See `check_free`.
    """
    path = Path(path)
    check_free(path, force=force, mark=mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as holder:
        stage = Path(holder) / "new"
        stage.mkdir()
        yield stage
        if path.exists():
            path.rename(Path(holder) / "old")
        stage.rename(path)


def remove(path: Path) -> None:
    """Deletes a directory that may be absent."""
    shutil.rmtree(path, ignore_errors=True)
