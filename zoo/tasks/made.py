"""Pictures that a network makes: between values and pixels, as a grid in a PNG file, as a film."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from zoo.common.columns import Column
from zoo.common.films import save_gif
from zoo.data.preprocessing import Preprocessing
from zoo.tasks import codes
from zoo.tasks.classes import one_hot
from zoo.tasks.pictures import enlarged

if TYPE_CHECKING:
    from zoo.tasks.task import Networks, Task

SHOWN = 64  # pictures of a grid
GAP = 2  # pixels between two of them
FILM_SIDE = 240  # of a frame in a film, at least, in pixels
MOST = 256  # examples that a network draws at once
BLOCK = 512  # pictures that are compared with as many others at once
FLAGS = {"label": "--class", "walk": "--walk", "start": "--from"}  # of `zoo generate`


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


def save(pixels: np.ndarray, path: Path, *, columns: int = 8) -> None:
    """Writes pictures as a grid, a single one as it is; the same pictures give the same bytes.

    Args:
        pixels: (n, height, width, channels), uint8; channels are 1 or 3.
        path: The PNG to write.
        columns: Pictures in a row.
    """
    whole = grid(pixels, columns=columns) if len(pixels) > 1 else pixels[0]
    _picture(whole).save(path, format="PNG")


def save_film(frames: Sequence[np.ndarray], path: Path, *, seconds: float) -> None:
    """Writes pictures one after another, as a GIF that repeats; small ones are enlarged.

    Args:
        frames: Each (height, width, channels), uint8, of one size; channels are 1 or 3.
        path: The GIF to write.
        seconds: Time of each.
    """
    times = max(1, -(-FILM_SIDE // max(frames[0].shape[:2])))
    large = [_picture(enlarged(frame, times)).convert("RGB") for frame in frames]
    save_gif(large, path, seconds=seconds)


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


class Start(NamedTuple):
    """What pictures to begin with are to a network.

    Attributes:
        mean: Mean of the code of each (n, ...).
        deviation: How far a code of the same picture may be from it, (n, ...).
        labels: Index of the class that each is taken for, (n,); `None` where there are none.
    """

    mean: np.ndarray
    deviation: np.ndarray
    labels: np.ndarray | None = None


def made(
    task: Task,
    networks: Networks,
    draw: Callable[..., Any],
    *,
    count: int,
    seed: int,
    walk: bool = False,
    label: int | None = None,
    num_classes: int = 0,
    begin: Start | None = None,
) -> np.ndarray:
    """Returns what a network makes of noise, (count, ...).

    Without a label, classes take turns. A walk goes through a few draws of the noise, or through
    the codes of `begin`; of a single one, to a draw.

    Args:
        task: Draws the noise, in a column of that name.
        networks: By name.
        draw: Noise (n, ...) to values (n, ...); of networks with classes it is given those too,
            shares that sum to 1, (n, num_classes).
        count: Number of examples, 1 or more.
        seed: Seed of the noise.
        walk: Whether the examples lie on a path.
        label: Index of the class of all.
        num_classes: Number of classes that `draw` is given; 0 where it is given none.
        begin: What pictures to begin with are, for a task that reads such.

    Raises:
        ValueError: There is a label for networks without classes, or nothing to make.
    """
    import tensorflow as tf

    from zoo.data.feeds.source import noise

    if count < 1:
        raise ValueError(f"count: got {count}; expected 1 or more.")
    if label is not None and not num_classes:
        raise ValueError(
            f"task {task.kind}: got a class for networks that read none; expected conditional ones."
            " Drop --class."
        )
    num = codes.num_stops(count) if walk else count
    drawn = noise(task.draws(networks), tf.constant([seed, 0]), num)["noise"].numpy()
    if begin is not None and walk:
        drawn = begin.mean if len(begin.mean) > 1 else np.concatenate([begin.mean, drawn[:1]])
    elif begin is not None:
        turn = np.arange(count) % len(begin.mean)
        drawn = begin.mean[turn] + begin.deviation[turn] * drawn
    given = [drawn]
    if num_classes:
        found = begin.labels if begin is not None else None
        turns = np.arange(num_classes) if found is None else found
        turns = turns if label is None else np.array([label])
        given.append(one_hot(turns[np.arange(len(drawn)) % len(turns)], num_classes))
    if walk:
        ways = (codes.slerp, codes.mixed)
        given = [codes.path(stops, count, way) for stops, way in zip(given, ways, strict=False)]
    parts = [
        np.asarray(draw(*(one[at : at + MOST] for one in given))) for at in range(0, count, MOST)
    ]
    return np.concatenate(parts)


def refuse_options(task: Task, options: Mapping[str, Any]) -> None:
    """Refuses options of `Task.generate` that a task does not know.

    Args:
        task: Whose they were to be.
        options: What is left of them; those of `FLAGS` that are `None` or False count as not given.

    Raises:
        ValueError: There is one.
    """
    told = [
        f"{name} ({FLAGS[name]})" if name in FLAGS else name
        for name, value in options.items()
        if name not in FLAGS or not (value is None or value is False)
    ]
    if told:
        raise ValueError(
            f"task {task.kind}: got {', '.join(told)}, which it does not know; expected none."
        )


def begun_with(start: np.ndarray, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Returns pictures to begin with, one after another, (count, *shape), uint8.

    Args:
        start: Pictures (n, *shape), uint8.
        shape: (height, width, channels) of a network's.
        count: Number of pictures.

    Raises:
        ValueError: They are of another shape or type, or there is none.
    """
    start = np.asarray(start)
    if start.dtype != np.uint8 or start.shape[1:] != tuple(shape) or not len(start):
        raise ValueError(
            f"--from: got pictures of {start.dtype} {start.shape}; expected uint8 (n, "
            f"{', '.join(map(str, shape))}), pixels of 0 to 255."
        )
    return start[np.arange(count) % len(start)]


def nearest(pixels: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each picture which of others is the most like it, and how far it is.

    A picture that was learnt by heart is at 0 of one that was shown.

    Args:
        pixels: (n, height, width, channels), uint8.
        others: (m, height, width, channels), uint8, e.g. the training split's.

    Returns:
        Numbers of the nearest (n,), and the root of the mean squared difference of the pixels (n,),
        in [0, 1].
    """
    least = np.full(len(pixels), np.inf, np.float32)
    place = np.zeros(len(pixels), np.int64)
    for first in range(0, len(others), BLOCK):
        known = _rows(others[first : first + BLOCK])
        squares = np.square(known).sum(axis=1)
        for start in range(0, len(pixels), BLOCK):
            part = slice(start, start + BLOCK)
            # |a - b|^2 is |b|^2 - 2 a b, and the same for all b
            values = squares - 2 * _rows(pixels[part]) @ known.T
            best = values.argmin(axis=1)
            found = values[np.arange(len(values)), best]
            nearer = found < least[part]
            place[part][nearer], least[part][nearer] = first + best[nearer], found[nearer]
    far = np.empty(len(pixels), np.float32)
    for start in range(0, len(pixels), BLOCK):
        part = slice(start, start + BLOCK)
        apart = _rows(pixels[part]) - _rows(others[place[part]])
        far[part] = np.sqrt(np.square(apart).mean(axis=1))
    return place, far


def _rows(pixels: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1], float32, a row for each picture."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255


def pairs(pixels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns pictures each followed by another, (2 n, ...), for a grid of pairs."""
    return np.stack([pixels, others], axis=1).reshape(-1, *pixels.shape[1:])


def stretched(values: np.ndarray) -> np.ndarray:
    """Returns pictures of any numbers as pixels, uint8, each from its smallest to its largest.

    Args:
        values: (n, height, width, channels).
    """
    values = np.asarray(values, np.float64)
    low, high = (find(values, axis=(1, 2, 3), keepdims=True) for find in (np.min, np.max))
    return to_pixels((values - low) / np.maximum(high - low, 1e-12), low=0.0)
