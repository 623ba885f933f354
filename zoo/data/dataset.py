"""What a data set is, and how it is split.

Every split is ordered so that each of its prefixes holds the classes in their proportions, or is a
random part where the target is a number; official test splits keep their own order. Everything is
held in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class Split:
    """Examples with their labels.

    Attributes:
        images: Pixels (n, height, width, channels), uint8, 0 to 255; or a table's rows, each with
            its features in their own units, (n, features), float32.
        labels: Index of each example's class (n,), int32; or its number in its own unit (n,),
            float32.

    Raises:
        ValueError: A shape or an element type differs.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if (self.images.ndim, self.images.dtype) not in ((4, np.uint8), (2, np.float32)):
            got = f"{self.images.dtype} {self.images.shape}"
            raise ValueError(
                f"Split.images: got {got}; expected uint8 (n, height, width, channels), or float32 "
                "(n, features)."
            )
        known = (np.int32, np.float32)
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype not in known:
            got = f"{self.labels.dtype} {self.labels.shape}"
            raise ValueError(
                f"Split.labels: got {got}; expected int32 ({len(self.images)},), or float32 for "
                "numbers."
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: slice | np.ndarray) -> Split:
        return Split(self.images[which], self.labels[which])

    @property
    def is_table(self) -> bool:
        """Whether the examples are rows of features, not images."""
        return self.images.ndim == 2


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set in memory.

    Attributes:
        name: A name of `zoo.data.DATASETS`, or `folder:PATH`.
        source: Where it was read from, one sentence.
        labels: Class names; `Split.labels` indexes them. None where the target is a number.
        train: Examples to learn from.
        validation: Examples to choose by.
        test: Examples to report on; disjoint from the others.
        mirror: Whether an image flipped left to right keeps its class.
        problems: What was left out, one line each: the file and the reason.
    """

    name: str
    source: str
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    mirror: bool
    problems: tuple[str, ...] = ()

    @property
    def target(self) -> Literal["class", "number"]:
        """What a label is."""
        return "class" if self.labels else "number"


def stratify(
    everything: Split, counts: Callable[[int], tuple[int, int, int]]
) -> tuple[Split, Split, Split]:
    """Splits examples at random, but always in the same way, class by class.

    The examples of each class are permuted by one `RandomState(0)`, whose stream NumPy has frozen;
    the first go to training, the next to validation, the last to test. Examples whose labels are
    numbers are all of one class here.

    Args:
        everything: Examples with their labels.
        counts: Returns how many examples of a class go to training, validation and test; they sum
            to its argument, the number of examples in the class.

    Returns:
        Training, validation and test; every prefix of them is stratified.
    """
    random = np.random.RandomState(0)
    groups = everything.labels
    if groups.dtype != np.int32:
        groups = np.zeros(len(groups), np.int32)
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for label in np.unique(groups):
        members = random.permutation(np.flatnonzero(groups == label))
        num_train, num_validation, _ = counts(len(members))
        bounds = [num_train, num_train + num_validation]
        for part, chosen in zip(parts, np.split(members, bounds), strict=True):
            part.append(chosen)
    train, validation, test = (everything[_interleaved(part)] for part in parts)
    return train, validation, test


def _interleaved(classes: list[np.ndarray]) -> np.ndarray:
    """Merges the classes so that every prefix holds them in proportion."""
    # The k-th of m images of a class stands at k/m of the way, so the first of each class lead.
    way = np.concatenate([np.arange(len(members)) / max(len(members), 1) for members in classes])
    return np.concatenate(classes)[np.argsort(way, kind="stable")]
