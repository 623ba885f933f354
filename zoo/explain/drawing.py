"""Maps of a classifier as pictures, and sheets of them with a line of text above each.

Everything returns pixels (height, width, 3), uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw

from zoo.common.images import recolour
from zoo.tasks.pictures import GAP, enlarged

SIDE = 160  # pixels that a tile of a sheet has at least
TOP = 99.5  # percent of a map's values that are not cut off when it is drawn
COLOURS = "inferno"  # dark to light, also for whoever lacks one kind of cone
LINE = 13  # pixels of a line of text


class Tile(NamedTuple):
    """A picture of a sheet, and what is written above it."""

    title: str
    pixels: np.ndarray


def strength(found: np.ndarray) -> np.ndarray:
    """Returns one value for each place, 0 or more: the largest |value| of the channels.

    Args:
        found: (height, width) or (height, width, channels).
    """
    return np.abs(found).max(axis=2) if found.ndim == 3 else np.maximum(found, 0)


def heat(found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draws a map from dark, for 0, to light.

    Args:
        found: (h, w) or (h, w, channels), see `strength`.
        size: Height and width of the picture; a smaller map is interpolated.
    """
    return (colormaps[COLOURS](_scaled(found, size))[..., :3] * 255).astype(np.uint8)


def overlay(pixels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Draws a map over its picture, whose colours fade.

    Args:
        pixels: (height, width, 1 or 3), uint8.
        found: See `heat`.
    """
    grey = recolour(recolour(pixels[None], 1), 3)[0]
    share = _scaled(found, pixels.shape[:2])[..., None]
    mixed = (1 - 0.75 * share) * (0.6 * grey) + 0.9 * share * heat(found, pixels.shape[:2])
    return np.rint(mixed.clip(0, 255)).astype(np.uint8)


def signed(found: np.ndarray) -> np.ndarray:
    """Draws a map with its signs, in its own channels: 0 is grey.

    Args:
        found: (height, width, 1 or 3).
    """
    top = max(float(np.percentile(np.abs(found), TOP)), 1e-30)
    pixels = np.rint(127.5 + 127.5 * (found / top).clip(-1, 1)).astype(np.uint8)
    return recolour(pixels[None], 3)[0]


def of_unit(values: np.ndarray) -> np.ndarray:
    """Draws a picture (height, width, 1 or 3) of values from 0 to 1."""
    return recolour(np.rint(values.clip(0, 1) * 255).astype(np.uint8)[None], 3)[0]


def stretched(values: np.ndarray) -> np.ndarray:
    """Draws values (height, width, 1 or 3) from their least, black, to their greatest, white."""
    span = max(float(np.ptp(values)), 1e-30)
    pixels = np.rint((values - values.min()) / span * 255).astype(np.uint8)
    return recolour(pixels[None], 3)[0]


def sheet(tiles: Sequence[Tile], *, columns: int, side: int = SIDE) -> np.ndarray:
    """Puts tiles beside and below one another, on white, each with its title above.

    Args:
        tiles: In reading order.
        columns: Tiles in a row.
        side: Small pictures are enlarged, pixel by pixel, to at least this side.
    """
    pictures = [_large(tile.pixels, side) for tile in tiles]
    lines = max((tile.title.count("\n") + 1 if tile.title else 0) for tile in tiles)
    height = max(picture.shape[0] for picture in pictures) + lines * LINE
    width = max(picture.shape[1] for picture in pictures)
    rows = -(-len(tiles) // columns)
    canvas = Image.new(
        "RGB",
        (GAP + min(columns, len(tiles)) * (width + GAP), GAP + rows * (height + GAP)),
        "white",
    )
    pen = ImageDraw.Draw(canvas)
    for place, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        left = GAP + place % columns * (width + GAP)
        top = GAP + place // columns * (height + GAP)
        for number, line in enumerate(tile.title.split("\n")):
            pen.text((left, top + number * LINE), _cut(pen, line, width), fill="black")
        canvas.paste(Image.fromarray(picture), (left, top + lines * LINE))
    return np.asarray(canvas)


def _cut(pen: ImageDraw.ImageDraw, line: str, width: int) -> str:
    """As much of a line as there is room for."""
    while line and pen.textlength(line) > width:
        line = line[:-1]
    return line


def _large(pixels: np.ndarray, side: int) -> np.ndarray:
    return enlarged(recolour(pixels[None], 3)[0], max(-(-side // max(pixels.shape[:2])), 1))


def _scaled(found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map of the picture's size, from 0 to 1."""
    values = strength(found).astype(np.float32)
    if values.shape != tuple(size):
        resized = Image.fromarray(values).resize(size[::-1], Image.Resampling.BICUBIC)
        values = np.maximum(np.asarray(resized), 0)
    top = float(np.percentile(values, TOP)) or float(values.max())
    return (values / top).clip(0, 1) if top > 0 else values
