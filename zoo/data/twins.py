"""Pictures that stand in two splits: what is measured on them is remembered, not known.

Two are the same where all their pixels are, in the size that is read: a copy under another name, or
in another format without losses. What was cut, turned or compressed anew is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.data.dataset import Split

TWIN = "twin"
PATH = "path"


def fingerprint(image: np.ndarray) -> bytes:
    """Returns a digest of a picture's pixels and shape, of 16 bytes."""
    return hashlib.blake2b(image.tobytes(), digest_size=16, key=repr(image.shape).encode()).digest()


def marked(values: dict[str, object], paths: Sequence[Path], twins: Sequence[bytes]) -> Split:
    """Returns examples with two columns that `taken` takes away again.

    Args:
        values: Columns (n, ...) by name.
        paths: File of each picture.
        twins: Its `fingerprint`.
    """
    marks = np.array([np.void(twin) for twin in twins])
    return Split({**values, PATH: np.array([str(path) for path in paths]), TWIN: marks})


def taken(splits: Sequence[Split]) -> tuple[list[Split], list[str]]:
    """Returns splits without the columns of `marked`, and a line for each that shares pictures.

    Args:
        splits: Training, validation and test.
    """
    lines = []
    names = ("training", "validation", "test")
    owners = [
        dict(zip((m.tobytes() for m in one[TWIN]), one[PATH].tolist(), strict=True))
        for one in splits
    ]
    for held, earlier in ((1, (0,)), (2, (0, 1))):
        known = {mark: (path, k) for k in reversed(earlier) for mark, path in owners[k].items()}
        again = [mark.tobytes() for mark in splits[held][TWIN] if mark.tobytes() in known]
        if again:
            path, where = known[again[0]]
            lines.append(
                f"{len(again)} of {len(splits[held])} pictures of the {names[held]} split are in "
                f"another split too, e.g. {owners[held][again[0]]} is {path} of {names[where]}: "
                "they are kept, and what is measured on them is remembered."
            )
    bare = [
        Split({k: v for k, v in one.columns.items() if k not in (TWIN, PATH)}) for one in splits
    ]
    return bare, lines
