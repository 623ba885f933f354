"""The scenes of `digit_scenes` with a phrase for each digit: `large red seven`.

What dense captioning learns (Johnson et al. 2016, arXiv:1511.07571). A phrase is a function of what
the scene shows, so that no scene is made anew for it:

    phrase  [size] colour digit
    size    `small` or `large`; nothing between
    colour  of the digit's visible pixels, the median of each of red, green and blue

The colour has a hue where the largest of the three is well above the smallest: one of six, each a
sixth of the circle around it. Else it is black, grey or white.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zoo.common.columns import Column
from zoo.common.sentences import END, MARKS, START
from zoo.data.dataset import DataSet, Split
from zoo.data.sets import digit_scenes
from zoo.data.sets.digit_captions import DIGITS
from zoo.datasets import DATASETS

NAME = "digit_scenes_phrases"
SIZES = ("small", "large")
SMALL, LARGE = 19, 25  # a digit's longer side in pixels: up to which, and from which on
HUES = ("red", "yellow", "green", "cyan", "blue", "purple")  # at 0, 60, 120 ... degrees
GREYS = ("black", "grey", "white")  # of thirds of the lightness
CHROMA = 56.0  # least distance of the largest of red, green, blue from the smallest, of a hue
VOCABULARY = (*MARKS, *SIZES, *HUES, *GREYS, *DIGITS)
LENGTH = 5  # of the longest phrase: three words, a start and an end


def load(*, size: int | None = None) -> DataSet:
    """Makes, or reads, the scenes of `digit_scenes` with the column `phrases` (most, 5).

    A phrase is a start, two or three words, an end, and zeros; zeros alone where there is no digit.

    Args:
        size: Side of the scenes in pixels, 64 to 256; `None` for 64.

    Raises:
        ValueError: See `zoo.data.sets.digit_scenes.load`, likewise the others.
    """
    data = digit_scenes.load(size=size)
    most = data.columns["boxes"].shape[0]
    return replace(
        data,
        name=NAME,
        source=f"{data.source}; a phrase for each digit, of its size, colour and class",
        columns={**data.columns, "phrases": Column("phrases", (most, LENGTH), VOCABULARY)},
        mirror=DATASETS[NAME].mirror,
        motions={"phrases": {"scale": 0}},  # in which a thing is small or large
        train=_described(data.train),
        validation=_described(data.validation),
        test=_described(data.test),
    )


def phrase(box: np.ndarray, colour: Sequence[float], digit: int) -> list[str]:
    """Returns the words for a digit.

    Args:
        box: y1 x1 y2 x2 in pixels.
        colour: Red, green and blue, 0 to 255.
        digit: 0 to 9.
    """
    side = max(box[2] - box[0], box[3] - box[1])
    size = SIZES[:1] if side <= SMALL else SIZES[1:] if side >= LARGE else ()
    return [*size, colour_name(colour), DIGITS[digit]]


def colour_name(colour: Sequence[float]) -> str:
    """Returns the name of a colour, one of `HUES` or `GREYS`.

    Args:
        colour: Red, green and blue, 0 to 255.
    """
    red, green, blue = colour
    high, low = max(colour), min(colour)
    if high - low < CHROMA:
        return GREYS[min(int((high + low) / 2 * len(GREYS) / 255), len(GREYS) - 1)]
    if high == red:
        place = (green - blue) / (high - low)
    elif high == green:
        place = 2 + (blue - red) / (high - low)
    else:
        place = 4 + (red - green) / (high - low)
    return HUES[int(np.floor(place + 0.5)) % len(HUES)]


def _described(split: Split) -> Split:
    """A split with the phrases of its digits."""
    phrases = np.zeros((*split["classes"].shape, LENGTH), np.int32)
    for index, count in enumerate(split["count"]):
        image, owners = split["image"][index], split["instances"][index]
        for place in range(count):
            colour = np.median(image[owners == place + 1], axis=0)
            words = phrase(split["boxes"][index, place], colour, split["classes"][index, place])
            row = [START, *map(VOCABULARY.index, words), END]
            phrases[index, place, : len(row)] = row
    return split.replace(phrases=phrases)
