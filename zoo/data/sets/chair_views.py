"""Chairs from all sides, some of which no training example shows: attributes and their picture.

Source: drawn by `zoo.data.sets.chairs`, after Dosovitskiy et al. 2015, arXiv:1411.5928. Each of 30
chairs is turned in steps of 15 degrees and seen from two heights. Of each chair three turns are of
the test split alone and two of the validation split alone, from both heights; they lie between two
turns that are learnt, and other chairs are learnt from just there. Half of those splits' examples
are of such combinations, half of ones that training has seen, in another size and colour. Made once
for each size, and kept in the cache.
"""

from __future__ import annotations

import logging

import numpy as np

from zoo.common.columns import Column
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet, Split
from zoo.data.sets.chairs import View, design, render

VERSION = 2  # of the generator; it goes up when the code makes other pictures
SEED = 2015
CHAIRS = 30
TURNS = 24
ELEVATIONS = (20.0, 35.0)  # degrees
# Turns of a chair, from one that is random for each: those that a split alone shows, and as many
# that training shows, too.
UNSEEN = {"validation": (4, 12), "test": (0, 8, 16)}
SEEN = {"validation": (6, 14), "test": (2, 10, 18)}
TIMES = {"train": 6, "validation": 2, "test": 3}  # examples of a combination
COMBINATIONS = ("seen", "unseen")
SIDES = (32, 128)  # smallest and largest side of a picture, in pixels
LOG = logging.getLogger("zoo")


def load(*, size: int | None = None) -> DataSet:
    """Draws, or reads, the chairs.

    Columns: `image` (size, size, 3), on white; `label`, which chair; `view` (4,), sine and cosine
    of its turn and of the height it is seen from; `transform` (4,), size, red, green and blue, in
    [-1, 1]; `mask` (size, size), 1 for the chair; `combination`, 1 where no training example shows
    this chair in this turn.

    Args:
        size: Side of the pictures in pixels, 32 to 128; `None` for 32.

    Raises:
        ValueError: The size is out of range.
    """
    size = SIDES[0] if size is None else size
    if not SIDES[0] <= size <= SIDES[1]:
        raise ValueError(
            f"size: got {size}; chairs have sides of {SIDES[0]} to {SIDES[1]} pixels, e.g. 64."
        )
    columns = {
        "image": Column("image", (size, size, 3)),
        "label": Column("class", (), tuple(f"chair{index:02d}" for index in range(CHAIRS))),
        "view": Column("features", (4,)),
        "transform": Column("features", (4,)),
        "mask": Column("mask", (size, size), ("background", "chair")),
        "combination": Column("class", (), COMBINATIONS),
    }
    made_of = VERSION, SEED, CHAIRS, TURNS, ELEVATIONS, UNSEEN, SEEN, TIMES
    arrays = cached(f"chair_views-{size}-{key(made_of)}", lambda: _make(size))
    train, validation, test = (
        Split({column: arrays[f"{split}/{column}"] for column in columns}) for split in TIMES
    )
    still = {"rotate": 0.0, "scale": 0.0, "shift": 0.0}  # they would make the attributes untrue
    return DataSet(
        "chair_views",
        f"chairs drawn with seed {SEED}",
        columns,
        train,
        validation,
        test,
        motions={"view": still, "transform": still},
    )


def turns(split: str) -> np.ndarray:
    """Returns the turns of each chair in a split, those that are unseen first, (chairs, number)."""
    starts = np.random.RandomState(SEED).randint(TURNS, size=(CHAIRS, 1))
    if split == "train":
        hidden = {turn for own in UNSEEN.values() for turn in own}
        own = [turn for turn in range(TURNS) if turn not in hidden]
    else:
        own = [*UNSEEN[split], *SEEN[split]]
    found: np.ndarray = (starts + np.array(own)) % TURNS
    return found


def _make(size: int) -> dict[str, np.ndarray]:
    """Draws all splits; the arrays are called `split/column`."""
    LOG.info("chair_views: draws chairs of %d pixels, once", size)
    chairs = [design(index, SEED) for index in range(CHAIRS)]
    arrays: dict[str, np.ndarray] = {}
    for number, (split, times) in enumerate(TIMES.items()):
        random = np.random.RandomState([SEED, number])
        own, rows = turns(split), []
        num = own.shape[1]
        # The chairs take turns, so that every prefix has all of them; unseen turns likewise.
        for step in random.permutation(num * len(ELEVATIONS) * times):
            elevation = ELEVATIONS[step // num % len(ELEVATIONS)]
            for label, chair in enumerate(chairs):
                unseen = step % num < len(UNSEEN.get(split, ()))
                azimuth = own[label, step % num] * 360 / TURNS
                transform = random.uniform(-1, 1, size=4)
                view = View(azimuth, elevation, transform[0], tuple(transform[1:]))
                pixels, mask = render(chair, view, size)
                angles = np.radians([azimuth, elevation])
                rows.append((pixels, label, _circle(angles), transform, mask, unseen))
        images, labels, views, transforms, masks, unseens = zip(*rows, strict=True)
        arrays |= {
            f"{split}/image": np.stack(images),
            f"{split}/label": np.array(labels, np.int32),
            f"{split}/view": np.stack(views).astype(np.float32),
            f"{split}/transform": np.stack(transforms).astype(np.float32),
            f"{split}/mask": np.stack(masks),
            f"{split}/combination": np.array(unseens, np.int32),
        }
    return arrays


def _circle(angles: np.ndarray) -> np.ndarray:
    """Sine and cosine of each angle in turn."""
    return np.stack([np.sin(angles), np.cos(angles)], axis=1).reshape(-1)
