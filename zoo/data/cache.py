"""Keeps what takes long to make: arrays by name, in one file of the user's cache.

A file lies in `$ZOO_HOME/data`, by default `~/.cache/zoo/data`. Its name holds a digest of all that
it was made from, so that a changed generator makes a new file and never reads an old one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.common.staging import staged_file

LOG = logging.getLogger("zoo")
Arrays = Mapping[str, np.ndarray]


def folder() -> Path:
    """Returns the directory of the cached arrays, which may not be there yet."""
    home = os.environ.get("ZOO_HOME") or Path.home() / ".cache" / "zoo"
    return Path(home) / "data"


def key(settings: object, files: Iterable[Path] = ()) -> str:
    """Returns a digest, 12 hexadecimal digits, of settings and of the contents of files.

    Args:
        settings: Plain values; `repr` tells them apart.
        files: What is read.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def cached(name: str, make: Callable[[], Arrays]) -> dict[str, np.ndarray]:
    """Returns arrays from the cache, or makes them and keeps them there.

    A file that cannot be read is made anew. Where the cache cannot be written, nothing is kept.

    Args:
        name: Name of the file, without its ending.
        make: Makes the arrays.
    """
    path = folder() / f"{name}.npz"
    try:
        with np.load(path) as file:
            return dict(file)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        LOG.warning("%s: not a whole file; it is made anew.", path)
    arrays: dict[str, Any] = dict(make())
    try:
        with staged_file(path) as part:
            np.savez(part, allow_pickle=False, **arrays)  # noise does not compress
    except BlockingIOError:
        LOG.info("%s: another process writes the same.", path)
    except OSError as error:
        LOG.warning("%s: not kept (%s).", path, error.strerror or error)
    return arrays
