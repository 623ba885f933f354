"""PNG and NPZ files that verbs write: checked before any work, whole or not there at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.common import staging


def check_png(out: str | Path, *, force: bool, read: list[Path]) -> Path:
    """Returns the path of a PNG that may be written.

    Raises:
        FileExistsError: It exists, or is what is read.
        ValueError: It is no PNG.
    """
    return _checked("--out", ".png", Path(out), force=force, read=read)


def check_npz(out: str | Path, *, force: bool, read: list[Path]) -> Path:
    """Returns the path of a file of arrays that may be written.

    Raises:
        FileExistsError: It exists, or is what is read.
        ValueError: It is no NPZ.
    """
    return _checked("--arrays", ".npz", Path(out), force=force, read=read)


def _checked(option: str, ending: str, out: Path, *, force: bool, read: list[Path]) -> Path:
    if out.suffix.lower() != ending:
        raise ValueError(f"{option}: got {out}; expected a file that ends in {ending}.")
    staging.check_file(out, force=force, read=read)
    return out


def save_npz(arrays: Mapping[str, np.ndarray], place: Path) -> None:
    """Writes arrays by name."""
    with staging.staged_file(place) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def save_png(pixels: np.ndarray, place: Path) -> None:
    """Writes a picture (height, width, 3), uint8."""
    with staging.staged_file(place) as partial:
        Image.fromarray(pixels).save(partial)
