"""PNG files that verbs write: checked before any work, whole or not there at all."""

from __future__ import annotations

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
    if Path(out).suffix.lower() != ".png":
        raise ValueError(f"--out: got {out}; expected a file that ends in .png.")
    staging.check_file(out, force=force, read=read)
    return Path(out)


def save_png(pixels: np.ndarray, place: Path) -> None:
    """Writes a picture (height, width, 3), uint8."""
    with staging.staged_file(place) as partial:
        Image.fromarray(pixels).save(partial)
