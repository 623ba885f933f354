"""A picture of any size through a network of a fixed one: in tiles that overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BATCH = 32  # tiles in a call


def in_tiles(
    run: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    *,
    tile: tuple[int, int],
    margin: int,
    scale: int = 1,
) -> np.ndarray:
    """Returns what a network makes of a picture, tile by tile; the picture's edges are mirrored.

    Args:
        run: Parts (n, rows + 2 margin, columns + 2 margin, channels) to answers, `scale` times as
            large on each side.
        values: The picture, (height, width, channels).
        tile: Rows and columns of what is kept of a part.
        margin: Pixels around a tile that the network sees besides.
        scale: How many times larger the answer is.

    Returns:
        The answer (height * scale, width * scale, channels).
    """
    height, width, _ = values.shape
    down, across = tile
    fill = ((margin, margin + -height % down), (margin, margin + -width % across), (0, 0))
    mirrored = np.pad(values, fill, mode="symmetric")
    starts = [(y, x) for y in range(0, height, down) for x in range(0, width, across)]
    kept = tuple(slice(margin * scale, (margin + side) * scale) for side in tile)
    whole: np.ndarray | None = None
    for first in range(0, len(starts), BATCH):
        some = starts[first : first + BATCH]
        parts = [mirrored[y : y + down + 2 * margin, x : x + across + 2 * margin] for y, x in some]
        made = run(np.stack(parts))[:, *kept]
        if whole is None:
            sides = [
                scale * (side + -side % step)
                for side, step in zip((height, width), tile, strict=True)
            ]
            whole = np.empty((*sides, made.shape[-1]), made.dtype)
        for (y, x), part in zip(some, made, strict=True):
            whole[y * scale : (y + down) * scale, x * scale : (x + across) * scale] = part
    if whole is None:
        raise ValueError(f"in_tiles: got a picture of {height} x {width} pixels; expected some.")
    return whole[: height * scale, : width * scale]
