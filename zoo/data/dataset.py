"""What a data set is, how it is split, and how it is loaded by name.

Every split is ordered so that each of its prefixes holds the classes in their proportions; official
test splits keep their own order. All images are held in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from zoo.data import DATASETS, FOLDER, check_name
from zoo.data.images import fit


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their classes.

    Attributes:
        images: Pixels (n, height, width, channels), uint8, 0 to 255.
        labels: Index of each image's class (n,), int32.

    Raises:
        ValueError: A shape or an element type differs.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            got = f"{self.images.dtype} {self.images.shape}"
            raise ValueError(
                f"Split.images: got {got}; expected uint8 (n, height, width, channels)."
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int32:
            got = f"{self.labels.dtype} {self.labels.shape}"
            raise ValueError(f"Split.labels: got {got}; expected int32 ({len(self.images)},).")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: slice | np.ndarray) -> Split:
        return Split(self.images[which], self.labels[which])


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set in memory.

    Attributes:
        name: A name of `zoo.data.DATASETS`, or `folder:PATH`.
        source: Where it was read from, one sentence.
        labels: Class names; `Split.labels` indexes them.
        train: Images to learn from.
        validation: Images to choose by.
        test: Images to report on; disjoint from the others.
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


def load(name: str, *, size: int | None = None, limit: int | None = None) -> DataSet:
    """Loads a data set. The same name gives the same split on every machine.

    Args:
        name: A name of `zoo.data.DATASETS`, or `folder:PATH`.
        size: Side of the square images in pixels, see `zoo.data.images.fit`; `None` keeps the
            stored size, and makes the images of a folder 64.
        limit: Number of training images to keep, in the classes' proportions; `None`, or more than
            there are, keeps all.

    Raises:
        ValueError: The name is unknown, `size` or `limit` is too small, or a folder holds too few
            images.
        FileNotFoundError: A file or folder is not there.
        ModuleNotFoundError: The package that carries the images is not installed.
        ConnectionError: A download failed.
    """
    check_name(name)
    if size is not None and size < 1:
        raise ValueError(f"size: got {size}; expected a side of at least 1 pixel.")
    if name.startswith(FOLDER):
        data: DataSet = import_module("zoo.data.folder").load(name, size=size)
    else:
        module, function = DATASETS[name].loader.split(":")
        data = getattr(import_module(module), function)()
    if limit is not None:
        if limit < len(data.labels):
            raise ValueError(
                f"limit: got {limit} training images; expected at least {len(data.labels)}, "
                f"one for each class of {name}."
            )
        data = replace(data, train=data.train[:limit])
    if size is not None:
        data = replace(
            data,
            train=_resized(data.train, size),
            validation=_resized(data.validation, size),
            test=_resized(data.test, size),
        )
    return data


def stratify(
    everything: Split, counts: Callable[[int], tuple[int, int, int]]
) -> tuple[Split, Split, Split]:
    """Splits images at random, but always in the same way, class by class.

    The images of each class are permuted by one `RandomState(0)`, whose stream NumPy has frozen;
    the first go to training, the next to validation, the last to test.

    Args:
        everything: Images with their classes.
        counts: Returns how many images of a class go to training, validation and test; they sum to
            its argument, the number of images in the class.

    Returns:
        Training, validation and test; every prefix of them is stratified.
    """
    random = np.random.RandomState(0)
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for label in np.unique(everything.labels):
        members = random.permutation(np.flatnonzero(everything.labels == label))
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


def _resized(split: Split, size: int) -> Split:
    return Split(fit(split.images, size), split.labels)
