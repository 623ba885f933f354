"""Composes scenes: digits or cut-out things, random in size and rotation, on crops of pictures.

The pictures are PNG files of scikit-image's wheel, which decode to the same pixels everywhere and
show no digits; by their documentation they are CC0 or without known copyright. Numbers come from
`numpy.random.RandomState`, whose streams are frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from zoo.common.settings import Settings

# Pictures by split: a scene of the test split shows nothing that training has seen.
TEXTURES = {
    "train": ("astronaut", "chelsea", "coffee", "grass", "motorcycle_left"),
    "validation": ("camera", "gravel"),
    "test": ("brick", "ihc"),
}


class Composition(Settings):
    """What a scene is made of.

    Attributes:
        most: Largest number of things in a scene; the smallest is 1.
        smallest: Smallest side of a thing with its margin, in pixels.
        largest: Largest side.
        turn: Largest rotation to either side, in degrees.
        opaque: Share of a thing's colour from which on a pixel belongs to it.
        kept: Share of a thing's pixels that later ones leave visible, at least.
        contrast: Least distance of a thing's mean colour from what it covers, in grey levels.
        noise: Largest standard deviation of the noise, in grey levels.
        tries: Draws of a thing until one fits; then the scene goes without it.
    """

    most: int
    smallest: int = 18
    largest: int = 44
    turn: float = 20.0
    opaque: float = 0.35
    kept: float = 0.75
    contrast: float = 50.0
    noise: float = 8.0
    tries: int = 100


class Scene(NamedTuple):
    """One scene.

    Attributes:
        image: Pixels (size, size, 3), uint8.
        owners: Which digit is seen at a pixel, from 1; 0 for the background, (size, size), uint8.
        classes: Class of each digit.
        boxes: Bounds of each digit's visible pixels, y1 x1 y2 x2, ends exclusive, (digits, 4).
    """

    image: np.ndarray
    owners: np.ndarray
    classes: tuple[int, ...]
    boxes: np.ndarray


def texture_paths(split: str) -> list[Path]:
    """Returns the paths of the pictures of a split.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
        FileNotFoundError: This version of scikit-image does not carry a picture.
    """
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "scenes: scikit-image carries the backgrounds; run: pip install scikit-image"
        )
    paths = [Path(package.origin).parent / "data" / f"{name}.png" for name in TEXTURES[split]]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"scenes: {path} is not there; run: pip install --force-reinstall scikit-image"
            )
    return paths


def textures(split: str) -> list[np.ndarray]:
    """Reads the pictures of a split, (height, width, 3), uint8; raises like `texture_paths`."""
    return [np.asarray(Image.open(path).convert("RGB")) for path in texture_paths(split)]


def compose(
    random: np.random.RandomState,
    things: Sequence[np.ndarray],
    labels: Sequence[int] | np.ndarray,
    backgrounds: Sequence[np.ndarray],
    *,
    size: int,
    settings: Composition,
) -> Scene:
    """Composes a scene.

    Args:
        random: Where all numbers come from.
        things: Those to choose from: digits (side, side), which get a colour, or colours and
            opacity (side, side, 4); uint8.
        labels: Their classes.
        backgrounds: Pictures (height, width, 3), uint8, with sides of more than `size`.
        size: Side of the scene, in pixels.
        settings: What it is made of.
    """
    image = background(random, backgrounds, size)
    owners = np.zeros((size, size), np.uint8)
    classes: list[int] = []
    areas: list[int] = []
    for _ in range(random.randint(1, settings.most + 1)):
        for _ in range(settings.tries):
            chosen = random.randint(len(things))
            wanted = random.randint(settings.smallest, settings.largest + 1)
            thing = turned(random, things[chosen], wanted, settings.turn)
            share = (thing if thing.ndim == 2 else thing[..., 3]) / 255  # (side, side), 0 to 1
            side = len(share)
            top, left = random.randint(0, size - side + 1, size=2)
            colour = random.uniform(0, 255, size=3) if thing.ndim == 2 else thing[..., :3]
            place = np.s_[top : top + side, left : left + side]
            seen = share > settings.opaque
            below = image[place]
            mean = colour.mean() if thing.ndim == 2 else colour[seen].mean() if seen.any() else 0
            far = abs(mean - below[seen].mean()) >= settings.contrast if seen.any() else 0
            if far and _leaves_enough(owners, owners[place][seen], areas, settings.kept):
                break
        else:
            continue
        image[place] = below + share[..., None] * (colour - below)
        owners[place][seen] = len(areas) + 1
        areas.append(int(seen.sum()))
        classes.append(int(labels[chosen]))
    image += random.normal(0, random.uniform(0, settings.noise), size=image.shape)
    pixels = np.rint(image.clip(0, 255)).astype(np.uint8)
    return Scene(pixels, owners, tuple(classes), boxes(owners, len(classes)))


def scene_row(scene: Scene, most: int) -> dict[str, np.ndarray]:
    """Returns a scene as columns: those of one thing, and of several.

    Args:
        scene: The scene.
        most: Places for things; those behind the last are of class -1.
    """
    num = len(scene.classes)
    classes = np.array([*scene.classes, *[-1] * (most - num)], np.int32)
    semantic = np.array([0, *(label + 1 for label in scene.classes)], np.uint8)
    boxes = np.zeros((most, 4), np.float32)
    boxes[:num] = scene.boxes
    return {
        "image": scene.image,
        "mask": semantic[scene.owners],
        "instances": scene.owners,
        "boxes": boxes,
        "classes": classes,
        "count": np.int32(num),
        "label": classes[0],
        "box": boxes[0],
    }


def boxes(owners: np.ndarray, num: int) -> np.ndarray:
    """Returns the boxes of the visible pixels of digits 1 to `num`, (num, 4), float32."""
    found = np.zeros((num, 4), np.float32)
    for index in range(num):
        rows, columns = np.nonzero(owners == index + 1)
        found[index] = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return found


def background(
    random: np.random.RandomState, backgrounds: Sequence[np.ndarray], size: int
) -> np.ndarray:
    """Returns a darkened, tinted crop of a picture, (size, size, 3), float64."""
    picture = backgrounds[random.randint(len(backgrounds))]
    top, left = (random.randint(0, side - size + 1) for side in picture.shape[:2])
    crop = picture[top : top + size, left : left + size]
    if random.randint(2):
        crop = crop[:, ::-1]
    tint = random.uniform(0.2, 0.6) * random.uniform(0.7, 1.3, size=3)
    return crop * tint + random.uniform(0, 60)


def turned(random: np.random.RandomState, thing: np.ndarray, side: int, most: float) -> np.ndarray:
    """Returns a thing in another size and rotated, (side, side) or (side, side, 4), 0 to 255.

    Args:
        random: Where the angle comes from.
        thing: Grey pixels (height, width), or with colours and opacity (height, width, 4), uint8.
        side: Its new side, in pixels.
        most: Largest rotation to either side, in degrees.
    """
    angle = random.uniform(-most, most)
    picture = Image.fromarray(thing).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(picture.rotate(angle, Image.Resampling.BILINEAR))


def _leaves_enough(
    owners: np.ndarray, covered: np.ndarray, areas: Sequence[int], kept: float
) -> bool:
    """Whether every digit that is there stays visible when the covered pixels change hands."""
    lost = np.bincount(covered, minlength=len(areas) + 1)
    left = np.bincount(owners.ravel(), minlength=len(areas) + 1) - lost
    return all(left[index + 1] >= kept * area for index, area in enumerate(areas))
