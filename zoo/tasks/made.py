"""Pictures that a network makes: between values and pixels, and as a grid in a PNG file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.common.columns import Column
from zoo.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    from zoo.tasks.task import Networks, Task

SHOWN = 64  # pictures of a grid
GAP = 2  # pixels between two of them


def scaled(column: Column, *, mean: float, std: float) -> Preprocessing:
    """Returns the preprocessing to (x / 255 - mean) / std, whatever the data.

    Args:
        column: Images; square.
        mean: In [0, 1].
        std: Above 0.

    Raises:
        ValueError: The column has no square images.
    """
    sides = column.shape
    if column.kind != "image" or sides[0] != sides[1] or sides[0] is None or sides[2] is None:
        raise ValueError(
            f"data: got {column.kind} of shape {sides}; expected square images. Write data.size."
        )
    num = sides[2]
    return Preprocessing(size=sides[0], channels=num, mean=(mean,) * num, std=(std,) * num)


def to_pixels(values: np.ndarray, *, low: float) -> np.ndarray:
    """Returns values in [low, 1] as pixels, uint8, of the same shape; others are clipped."""
    shares = (np.asarray(values, np.float64) - low) / (1 - low)
    return np.round(255 * shares.clip(0, 1)).astype(np.uint8)


def grid(pixels: np.ndarray, *, columns: int = 8) -> np.ndarray:
    """Lays pictures out in rows, on a grey ground.

    Args:
        pixels: (n, height, width, channels), uint8; channels are 1 or 3.
        columns: Pictures in a row.

    Returns:
        One picture (rows * (height + gap) + gap, ..., channels), uint8.
    """
    num, height, width, channels = pixels.shape
    columns = min(columns, num)
    rows = -(-num // columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels)
    whole = np.full(shape, 128, np.uint8)
    for place, picture in enumerate(pixels):
        top = GAP + place // columns * (height + GAP)
        left = GAP + place % columns * (width + GAP)
        whole[top : top + height, left : left + width] = picture
    return whole


def save(pixels: np.ndarray, path: Path) -> None:
    """Writes pictures as a grid; the same pictures give the same bytes.

    Args:
        pixels: (n, height, width, channels), uint8; channels are 1 or 3.
        path: The PNG to write.
    """
    from PIL import Image

    whole = grid(pixels)
    Image.fromarray(whole[..., 0] if whole.shape[-1] == 1 else whole).save(path, format="PNG")


def made(
    task: Task,
    networks: Networks,
    draw: Callable[[Any], Any],
    *,
    count: int,
    seed: int,
    **options: Any,
) -> np.ndarray:
    """Returns what a network makes of noise, (count, ...).

    Args:
        task: Draws the noise, in a column of that name.
        networks: By name.
        draw: Noise (n, ...) to values (n, ...).
        count: Number of examples, 1 or more.
        seed: Seed of the noise.
        **options: None are known.

    Raises:
        ValueError: There is an option, or nothing to make.
    """
    import tensorflow as tf

    from zoo.data.source import noise

    if options:
        raise ValueError(f"task {task.kind}: got the options {', '.join(options)}; expected none.")
    if count < 1:
        raise ValueError(f"count: got {count}; expected 1 or more.")
    drawn = noise(task.draws(networks), tf.constant([seed, 0]), count)["noise"]
    return np.concatenate([np.asarray(draw(drawn[i : i + 256])) for i in range(0, count, 256)])
