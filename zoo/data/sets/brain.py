"""Slices of an averaged brain with the tissue of each pixel, that arrive with the package nilearn.

Source: the ICBM 152 templates, non-linear and symmetric, 2009a (Fonov et al. 2011,
doi:10.1016/j.neuroimage.2010.07.033), as nilearn carries them at 1 mm: a T1-weighted mean of 152
heads without the skull, and maps of how likely grey and white matter are. A pixel is of the
likeliest of grey matter, white matter and what is left within the brain, which is mostly fluid.
nilearn is BSD-3, and states no licence of the templates.
Limits: it is one brain, and an average. Its halves are mirror images to the last bit, so left
against right would be no split: training, validation and test take turns in blocks of slices along
the body, and `GAP` slices on either side of a border between two of them are left out.
"""

from __future__ import annotations

import gzip
from importlib.metadata import version
from pathlib import Path

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.data.sets.carried import carried
from zoo.datasets import DATASETS

FILE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
ADVICE = "run: pip install keras-model-zoo[pictures], or, 11 MB only: pip install --no-deps nilearn"
SHAPE = (197, 233, 189)  # right to left, back to front, down to up, in mm
CROP = np.s_[24:216, 2:194]  # what of a slice holds all of the brain
TISSUES = ("background", "fluid", "grey", "white")
FIRST, BLOCK, GAP = 10, 14, 2  # slices
BLOCKS = (
    *("train", "test", "train", "validation", "train"),
    *("train", "test", "train", "validation", "train"),
)


def load() -> DataSet:
    """Loads the slices: 68 to learn from, 20 to choose by and 20 to report on.

    Columns: `image` (192, 192, 1), the front of the head up; `mask` (192, 192), of `TISSUES`.

    Raises:
        ModuleNotFoundError: nilearn is not installed.
        FileNotFoundError: This version of nilearn does not carry a file.
        ValueError: A file is not what it was.
    """
    image, grey, white = (volume(path) for path in paths())
    mask = tissues(image, grey, white)
    columns = {"image": Column("image", (192, 192, 1)), "mask": Column("mask", (192, 192), TISSUES)}
    train, validation, test = (
        Split({"image": _slices(image, chosen)[..., None], "mask": _slices(mask, chosen)})
        for chosen in splits().values()
    )
    source = f"nilearn {version('nilearn')}, ICBM 152 2009a symmetric"
    mirror = DATASETS["brain"].mirror
    return DataSet("brain", source, columns, train, validation, test, mirror=mirror)


def paths() -> list[Path]:
    """Returns the paths of the picture, grey and white matter; raises like `load`."""
    kinds = ("t1", "gm", "wm")
    return [carried("nilearn", FILE.format(k), data="brain", advice=ADVICE) for k in kinds]


def volume(path: Path) -> np.ndarray:
    """Reads a NIfTI-1 file of bytes, (right to left, back to front, down to up), uint8.

    Raises:
        ValueError: It is of another size, or not of bytes as they are.
    """
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, "<i2", count=8, offset=40)[1:4]
    kind = int(np.frombuffer(raw, "<i2", count=1, offset=70)[0])
    start, slope = np.frombuffer(raw, "<f4", count=2, offset=108)
    if tuple(shape) != SHAPE or kind != 2 or slope != 1:
        raise ValueError(
            f"brain: {path}: got a volume of {tuple(shape.tolist())}, NIfTI type {kind}, slope "
            f"{slope}; expected {SHAPE}, 2 (bytes) and 1. {ADVICE}"
        )
    return np.frombuffer(raw, np.uint8, offset=int(start)).reshape(SHAPE, order="F")


def tissues(image: np.ndarray, grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Returns the likeliest tissue of each pixel, an index of `TISSUES`, uint8.

    Args:
        image: Pixels; 0 outside the brain.
        grey: How likely grey matter is, in 255ths.
        white: How likely white matter is, in 255ths.
    """
    rest = 255 - grey.astype(int) - white
    likeliest = np.argmax([rest, grey, white], axis=0) + 1
    return np.where(image > 0, likeliest, 0).astype(np.uint8)


def splits() -> dict[str, list[int]]:
    """Returns the slices of each split, from down to up."""
    chosen: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for number, split in enumerate(BLOCKS):
        low, high = FIRST + number * BLOCK, FIRST + (number + 1) * BLOCK
        if number and BLOCKS[number - 1] != split:
            low += GAP
        if number + 1 < len(BLOCKS) and BLOCKS[number + 1] != split:
            high -= GAP
        chosen[split] += range(low, high)
    return chosen


def _slices(volumes: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Slices with the front of the head up, (n, 192, 192)."""
    return np.stack([volumes[:, ::-1, index].T[CROP] for index in chosen])
