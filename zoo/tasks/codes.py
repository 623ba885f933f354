"""Codes and noise that a network draws pictures from: paths between them, and sums of them.

Paths go along the sphere (Shoemake 1985, doi:10.1145/325334.325242; White 2016, arXiv:1609.04468):
numbers of N(0, I) lie near a sphere, and the middle of the straight way between two of them has a
norm that such numbers never have. Sums of mean codes, a - b + c, are those of Radford et al. 2015,
arXiv:1511.06434, section 6.3.2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo.tasks.classes import one_hot

LEG = 8  # examples between two stops of a path, about: a row of a grid
STYLES = 8  # rows of a picture of all classes
Between = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def slerp(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Returns the code at a share of the way between two, along the sphere; norms change evenly.

    Args:
        one: (...).
        other: Of the same shape.
        share: In [0, 1]; 0 is `one`, 1 is `other`.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if share in (0, 1):
        return other if share else one
    lengths = np.linalg.norm(one), np.linalg.norm(other)
    if not min(lengths):
        return mixed(one, other, share)
    cosine = float((one * other).sum() / (lengths[0] * lengths[1]))
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.sin(angle) < 1e-6:  # along one line: there is no one way around
        return mixed(one, other, share)
    near, far = np.sin((1 - share) * angle), np.sin(share * angle)
    turned: np.ndarray = (near * one / lengths[0] + far * other / lengths[1]) / np.sin(angle)
    return turned * ((1 - share) * lengths[0] + share * lengths[1])


def mixed(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Returns the mean of two, of which `share` is the other's: the straight way."""
    return (1 - share) * one + share * other


def num_stops(count: int) -> int:
    """Returns between how many codes a path of so many examples goes."""
    return 1 + max(1, round(count / LEG))


def path(stops: np.ndarray, count: int, between: Between = slerp) -> np.ndarray:
    """Returns codes at even steps along a path, its ends among them.

    Args:
        stops: What the path goes through, (stops, ...); at least one.
        count: Number of codes.
        between: What is at a share of the way from one stop to the next.

    Returns:
        Codes (count, ...), float32.
    """
    places = np.linspace(0, len(stops) - 1, count)
    legs = np.minimum(places.astype(int), max(len(stops) - 2, 0))
    found = [
        between(stops[leg], stops[min(leg + 1, len(stops) - 1)], place - leg)
        for leg, place in zip(legs.tolist(), places.tolist(), strict=True)
    ]
    return np.stack(found).astype(np.float32)


def class_means(codes: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the mean code of each class (classes, ...); NaN where a class has no example.

    Args:
        codes: (n, ...).
        labels: Index of the class of each, (n,).
        num_classes: Number of classes.
    """
    means = np.full((num_classes, *codes.shape[1:]), np.nan)
    for index in np.unique(labels):
        means[index] = codes[labels == index].mean(axis=0, dtype=np.float64)
    return means


def sums(means: np.ndarray) -> np.ndarray:
    """Returns mean codes in rows of four: a, b, c, and a - b + c.

    Each class is an `a` once; `b` and `c` are the next two in order. A class that has no mean is
    left out.

    Args:
        means: See `class_means`.

    Returns:
        (rows, 4, ...), float32; no rows of fewer than three classes.
    """
    known = means[~np.isnan(means).reshape(len(means), -1).any(axis=1)]
    if len(known) < 3:
        return np.zeros((0, 4, *means.shape[1:]), np.float32)
    a, b, c = (np.roll(known, -step, axis=0) for step in range(3))
    return np.stack([a, b, c, a - b + c], axis=1).astype(np.float32)


def styles(shape: tuple[int, ...], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a few draws of N(0, I), each beside every class: what is no class stays in a row.

    Args:
        shape: Shape of a draw.
        num_classes: Number of classes.

    Returns:
        Draws (STYLES * classes, ...), and one-hot classes (STYLES * classes, classes), float32.
    """
    drawn = np.random.RandomState(0).normal(size=(STYLES, *shape)).astype(np.float32)
    turns = np.tile(np.arange(num_classes), STYLES)
    return drawn.repeat(num_classes, axis=0), one_hot(turns, num_classes)
