"""A chair of boxes and its picture: an exact renderer, of parallel rays and boxes.

After Dosovitskiy et al. 2015, arXiv:1411.5928, who render 809 models of chairs. A ray meets a box
where it is between all three pairs of sides (Kay & Kajiya 1986); the nearest box is seen, as bright
as its side faces the light, which moves along with the camera. Numbers come from
`numpy.random.RandomState`, whose streams are frozen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BACKS = ("solid", "slats", "rails", "none")
LEGS = ("four", "pedestal", "sides")
RAYS = 2  # by pixel, in each direction
HALF = 0.78  # of the side of a picture, in heights of a chair
MIDDLE = 0.48  # of a chair, from the floor
ZOOM = 0.15  # most that a chair is larger, or smaller
LIGHT = np.array([-0.45, 0.65, 0.61])  # right, up, towards the camera; of length 1
DARK = 0.5  # brightness of a side that the light does not reach


class Chair(NamedTuple):
    """A chair: boxes, their sides along the axes, the floor at z = 0, the back at the largest y.

    Attributes:
        low: Least x, y, z of each box, (boxes, 3).
        high: Largest, (boxes, 3).
        tones: Brightness of each box, in (0, 1], (boxes,).
    """

    low: np.ndarray
    high: np.ndarray
    tones: np.ndarray


class View(NamedTuple):
    """Where a chair is seen from, and how.

    Attributes:
        azimuth: Degrees around the chair.
        elevation: Degrees above the floor.
        zoom: In [-1, 1]: from smaller to larger by `ZOOM`.
        colour: Red, green and blue, in [-1, 1], from dark to bright.
    """

    azimuth: float
    elevation: float
    zoom: float
    colour: tuple[float, float, float]


def design(index: int, seed: int) -> Chair:
    """Makes up a chair; backs, legs and arms take turns, sizes are random.

    Args:
        index: Number of the chair, 0 or more.
        seed: Seed of the sizes.
    """
    random = np.random.RandomState([seed, index])
    back, legs, arms = BACKS[index % 4], LEGS[index // 4 % 3], index // 2 % 2 == 1
    w, d, z, thick, tall, bar = (
        random.uniform(*span)
        for span in ((0.2, 0.31), (0.2, 0.29), (0.36, 0.5), (0.05, 0.1), (0.35, 0.5), (0.05, 0.09))
    )
    tones = random.uniform(0.7, 1.0, size=3)  # of the seat, of the back, of the rest
    boxes = [((-w, -d, z - thick), (w, d, z), tones[0])]
    if back == "solid":
        boxes.append(((-w, d - bar, z), (w, d, z + tall), tones[1]))
    elif back != "none":
        posts = (-w, w - bar)
        boxes += [((x, d - bar, z), (x + bar, d, z + tall), tones[1]) for x in posts]
        boxes.append(((-w, d - bar, z + tall - bar), (w, d, z + tall), tones[1]))
        for share in (0.25, 0.5, 0.75) if back == "slats" else (0.2, 0.55):
            if back == "slats":
                middle = w * (2 * share - 1)
                ends = (middle - bar / 3, d - bar, z), (middle + bar / 3, d, z + tall)
            else:
                height = z + tall * share
                ends = (-w, d - bar, height - bar / 2), (w, d, height + bar / 2)
            boxes.append((*ends, tones[1]))
    floor = z - thick
    if legs == "four":
        corners = [(x, y) for x in (-w, w - bar) for y in (-d, d - bar)]
        boxes += [((x, y, 0), (x + bar, y + bar, floor), tones[2]) for x, y in corners]
    elif legs == "pedestal":
        boxes.append(((-bar, -bar, 0), (bar, bar, floor), tones[2]))
        boxes.append(((-w, -bar, 0), (w, bar, bar), tones[2]))
        boxes.append(((-bar, -d, 0), (bar, d, bar), tones[2]))
    else:
        boxes += [((x, -d, 0), (x + bar, d, floor), tones[2]) for x in (-w, w - bar)]
    if arms:
        for x in (-w, w - bar):
            boxes.append(((x, -d, z + 0.17), (x + bar, d, z + 0.17 + bar), tones[2]))
            boxes.append(((x, -d, z), (x + bar, bar - d, z + 0.17), tones[2]))
    low, high, shades = (np.array(part) for part in zip(*boxes, strict=True))
    return Chair(low, high, shades)


def render(chair: Chair, view: View, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the picture of a chair on white, and its mask.

    Args:
        chair: What is seen.
        view: From where.
        side: Of the picture, in pixels.

    Returns:
        Pixels (side, side, 3), uint8; and 1 where at least half a pixel is of the chair, else 0,
        (side, side), uint8.
    """
    right, up, ahead = axes(view.azimuth, view.elevation)
    reach = HALF / (1 + ZOOM * view.zoom)
    places = ((np.arange(side * RAYS) + 0.5) / (side * RAYS) * 2 - 1) * reach
    starts = places[None, :, None] * right - places[:, None, None] * up
    starts = starts.reshape(-1, 1, 3) + np.array([0, 0, MIDDLE]) - 10 * ahead  # (rays, 1, 3)
    slow = np.where(np.abs(ahead) < 1e-9, 1e-9, ahead)
    # One axis after another: an array of rays by boxes fits into the processor's cache.
    entry, leave = np.full((2, len(starts), len(chair.tones)), np.inf)
    entry, face = -entry, np.zeros(entry.shape, np.int8)
    for axis in range(3):
        ends = ((x[:, axis] - starts[:, :, axis]) / slow[axis] for x in (chair.low, chair.high))
        one, other = sorted(ends, key=lambda x: x[0, 0])  # all rays have one direction
        face[one > entry] = axis
        entry, leave = np.maximum(entry, one), np.minimum(leave, other)
    distances = np.where(entry < leave, entry, np.inf)  # (rays, boxes)
    nearest = distances.argmin(axis=1)
    rays = np.arange(len(nearest))
    hit = np.isfinite(distances[rays, nearest])
    face = face[rays, nearest]
    # The side that a ray enters by faces it: its normal is against the ray.
    facing = -np.sign(slow)[face] * np.stack([right, up, -ahead])[:, face]  # (3, rays)
    shade = DARK + (1 - DARK) * np.maximum(LIGHT @ facing, 0)
    colour = 0.55 + 0.45 * np.array(view.colour)
    values = (shade * chair.tones[nearest])[:, None] * colour
    values = np.where(hit[:, None], values, 1.0)
    shape = (side, RAYS, side, RAYS)
    pixels = values.reshape(*shape, 3).mean(axis=(1, 3))
    mask = hit.reshape(shape).mean(axis=(1, 3)) >= 0.5
    return np.rint(255 * pixels).astype(np.uint8), mask.astype(np.uint8)


def axes(azimuth: float, elevation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the camera's right, up and ahead as directions of the chair, each (3,).

    Args:
        azimuth: Degrees; at 0 the front is seen.
        elevation: Degrees.
    """
    a, e = np.radians(azimuth), np.radians(elevation)
    right = np.array([np.cos(a), -np.sin(a), 0.0])
    up = np.array([np.sin(a) * np.sin(e), np.cos(a) * np.sin(e), np.cos(e)])
    ahead = np.array([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), -np.sin(e)])
    return right, up, ahead
