"""Paints a photograph in the manner that a bundle of fast style transfer has learnt.

The network sees the photograph in tiles with what lies around them, and its edges mirrored, as
Johnson et al. 2016 mirror them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.bundle import Bundle, find_bundle
from zoo.common.images import recolour
from zoo.common.picture_files import read_image
from zoo.models.fast_style import TIMES
from zoo.models.saved import load_model
from zoo.stages.denoise import widened
from zoo.stages.png import check_png, save_png
from zoo.stages.tiles import in_tiles
from zoo.tasks.made import to_pixels

MOST_PIXELS = 50_000_000  # of what is made; each takes some 30 bytes
KIND = "fast_style"
TILE, MARGIN = 384, 64  # pixels; of a margin a multiple of 4, which the network's middle shrinks by


def paint_fast(
    bundle: Bundle | str | Path,
    photo: str | Path,
    *,
    size: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
) -> np.ndarray:
    """Paints a photograph with a network that has learnt a manner.

    Args:
        bundle: Bundle of fast style transfer, its directory, or the name of one that comes with the
            zoo.
        photo: Picture file.
        size: Longer side of what is made, in pixels; `None`: the photograph's own.
        out: PNG file to write; `None` writes none.
        force: Whether it may replace a file.

    Returns:
        Pixels (height, width, 3), uint8.

    Raises:
        FileExistsError: `out` exists, or is the photograph.
        FileNotFoundError: There is no such bundle or photograph.
        ValueError: The bundle is of another task, or the file is no picture.
    """
    bundle = find_bundle(bundle)
    if bundle.card.task != KIND:
        raise ValueError(
            f"{bundle.path}: is of the task {bundle.card.task}, which has learnt no manner; "
            f"expected a picture file, or a bundle of {KIND}."
        )
    place = None if out is None else check_png(out, force=force, read=[Path(photo)])
    image = read_image(photo)
    if size is not None:
        share = size / max(image.size)
        width, height = (max(round(side * share), 1) for side in image.size)
        if width * height > MOST_PIXELS:
            raise ValueError(
                f"--size: got {size}, {width} x {height} pixels; expected {MOST_PIXELS:,} at most."
            )
        image = image.resize((width, height))
    model = load_model(bundle.path)
    channels = model.input_shape[-1]
    values = recolour(np.asarray(image)[None], channels)[0].astype(np.float32) / 255
    wide = widened(model)

    def run(parts: np.ndarray) -> Any:  # one by one: maps of the photograph's size are large
        return np.concatenate([wide.predict_on_batch(part[None]) for part in parts])

    down, across = (min(TILE, side + -side % TIMES) for side in values.shape[:2])
    made = in_tiles(run, values, tile=(down, across), margin=MARGIN)
    pixels = recolour(to_pixels(made, low=0.0)[None], 3)[0]
    if place is not None:
        save_png(pixels, place)
    return pixels
