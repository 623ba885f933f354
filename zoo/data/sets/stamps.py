"""Scenes with photographs of things, cut out, on real pictures; for segmentation and detection.

Source: Tux Paint's stamps (tuxpaint.org, GPL-2+), colours with a clean opacity, where a system has
them: of Debian the package tuxpaint-stamps-default. They are read where they lie, and are no part
of this project. Pictures behind them are scikit-image's (`zoo.data.sets.scenes`). Cartoons and
mirror images are left out. Stamps of one name with another number, e.g. `cow1` and `cow2`, stay in
one split; stamps and pictures are split first, so a scene of the test split shows nothing that
training has seen. Made once for each size, and kept in the cache.
Limits: some classes have nine stamps in all, of which training sees five.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.common.columns import Column
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet, Split
from zoo.data.sets.scenes import TEXTURES, Composition, compose, scene_row, texture_paths, textures
from zoo.datasets import DATASETS

VERSION = 1  # of the generator; it goes up when the code makes other scenes
SEED = 2015
COUNTS = {"train": 1200, "validation": 120, "test": 120}
FOLDER = Path("/usr/share/tuxpaint/stamps")  # Debian's; ZOO_STAMPS names another one
CLASSES = {  # folders below it, with all that is in them
    "bird": "animals/birds",
    "fish": "animals/fish",
    "flower": "plants/flowers",
    "fruit": "food/fruit",
    "insect": "animals/insects",
    "mammal": "animals/mammals",
    "planet": "space/planets",
    "roadsign": "town/roadsigns",
    "tool": "household/tools",
    "vegetable": "food/vegetables",
}
LEFT_OUT = re.compile("cartoon|toys|plastic|mirror|flip")  # in a path below the folder
SIDES = (64, 256)  # smallest and largest side of a scene, in pixels
USUAL = 96
LARGEST = 160  # side of a stamp that is kept, in pixels


def load(*, size: int | None = None) -> DataSet:
    """Makes, or reads, scenes with some stamps: 1 to 3 at 64 pixels, to 4 at 96, to 6 at 128.

    Columns: those of `zoo.data.sets.digit_scenes.load`, with the names of `CLASSES`.

    Args:
        size: Side of the scenes in pixels, 64 to 256; `None` for 96.

    Raises:
        ValueError: The size is out of range.
        FileNotFoundError: The stamps are not installed, or a class lacks some.
        ModuleNotFoundError: scikit-image is not installed.
    """
    size = USUAL if size is None else size
    if not SIDES[0] <= size <= SIDES[1]:
        raise ValueError(
            f"size: got {size}; scenes of stamps have sides of {SIDES[0]} to {SIDES[1]} pixels, "
            "e.g. 64, 96 or 128."
        )
    names = tuple(CLASSES)
    settings = Composition(
        most=min(8, size // 21), smallest=size // 4, largest=size // 2, contrast=0, opaque=0.5
    )
    columns = {
        "image": Column("image", (size, size, 3)),
        "mask": Column("mask", (size, size), ("background", *names)),
        "boxes": Column("boxes", (settings.most, 4)),
        "classes": Column("classes", (settings.most,), names),
        "instances": Column("instances", (size, size)),
        "count": Column("count"),
    }
    chosen = splits(folder())
    files = [path for split in chosen.values() for group in split for path in group]
    files += [path for split in TEXTURES for path in texture_paths(split)]
    made_of = VERSION, SEED, COUNTS, TEXTURES, CLASSES, settings.model_dump()
    arrays = cached(f"stamps-{size}-{key(made_of, files)}", partial(_make, chosen, size, settings))
    train, validation, test = (
        Split({column: arrays[f"{split}/{column}"] for column in columns}) for split in COUNTS
    )
    source = f"Tux Paint's stamps of {folder()}, composed with seed {SEED}"
    mirror = DATASETS["stamps"].mirror
    return DataSet("stamps", source, columns, train, validation, test, mirror=mirror)


def folder() -> Path:
    """Returns the folder of the stamps.

    Raises:
        FileNotFoundError: It is not there.
    """
    path = Path(os.environ.get("ZOO_STAMPS") or FOLDER)
    if not path.is_dir():
        raise FileNotFoundError(
            f"stamps: {path}: no such folder; expected Tux Paint's stamps (GPL, 218 MB). Run: "
            "apt install tuxpaint-stamps-default; or let ZOO_STAMPS name their folder."
        )
    return path


def splits(root: Path) -> dict[str, list[list[Path]]]:
    """Returns the stamps of each split, class by class.

    Raises:
        FileNotFoundError: A class has too few to be split.
    """
    found: dict[str, list[list[Path]]] = {split: [] for split in COUNTS}
    for name, place in CLASSES.items():
        below = sorted((root / place).rglob("*.png"))
        paths = [p for p in below if not LEFT_OUT.search(str(p.relative_to(root)).lower())]
        groups = _groups(paths)
        if len(groups) < 5:
            raise FileNotFoundError(
                f"stamps: {root / place}: got {len(groups)} kinds of {name}; expected at least 5, "
                "as Tux Paint's stamps of 2022 have."
            )
        order = np.random.RandomState(0).permutation(len(groups))
        fifth = max(1, len(groups) // 5)
        parts = {"train": order[2 * fifth :], "validation": order[:fifth]}
        parts["test"] = order[fifth : 2 * fifth]
        for split, members in parts.items():
            found[split].append([path for index in members for path in groups[index]])
    return found


def _groups(paths: list[Path]) -> list[list[Path]]:
    """Paths whose names differ by a number only, together."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(re.sub(r"[\W\d_]+$", "", path.stem.lower()), []).append(path)
    return list(groups.values())


def _read(path: Path) -> np.ndarray:
    """A stamp in the middle of a clear square, (side, side, 4), uint8."""
    with Image.open(path) as file:
        stamp = file.convert("RGBA")
    stamp = stamp.crop(stamp.getchannel("A").getbbox())
    stamp.thumbnail((LARGEST, LARGEST))
    side = max(stamp.size)
    square = Image.new("RGBA", (side, side))
    square.paste(stamp, ((side - stamp.width) // 2, (side - stamp.height) // 2))
    return np.asarray(square)


def _make(
    chosen: dict[str, list[list[Path]]], size: int, settings: Composition
) -> dict[str, np.ndarray]:
    """Composes all splits; the arrays are called `split/column`."""
    arrays = {}
    for number, (split, classes) in enumerate(chosen.items()):
        random = np.random.RandomState([SEED, number])
        stamps = [[_read(path) for path in paths] for paths in classes]
        backgrounds = textures(split)
        rows = []
        for _ in range(COUNTS[split]):
            # A class has as many turns as any, however few stamps it has.
            labels = random.randint(len(CLASSES), size=settings.most)
            things = [stamps[label][random.randint(len(stamps[label]))] for label in labels]
            scene = compose(random, things, labels, backgrounds, size=size, settings=settings)
            rows.append(scene_row(scene, settings.most))
        for column in rows[0]:
            arrays[f"{split}/{column}"] = np.stack([one[column] for one in rows])
    return arrays
