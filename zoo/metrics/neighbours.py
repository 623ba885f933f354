"""Precision and recall of made examples, by the nearest neighbours of the real ones and their own.

Source: Kynkaanniemi et al. 2019, arXiv:1904.06991, equations 1 to 3, with their k = 3: a set of
points stands for the space of balls around them, each as large as the way to the k-th nearest other
one. Precision is the share of made points in the balls of the real ones, recall the share of real
points in the balls of the made ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 500  # points whose distances to all the others are held at a time


def precision_and_recall(
    real: np.ndarray, made: np.ndarray, *, neighbours: int = 3
) -> tuple[float, float]:
    """Returns how many made points look real, and how many real ones are made, in [0, 1].

    Args:
        real: (n, dimensions), n above `neighbours`.
        made: (m, dimensions), m above `neighbours`.
        neighbours: k.

    Raises:
        ValueError: There are too few points, or the dimensions differ.
    """
    if min(len(real), len(made)) <= neighbours or real.shape[1:] != made.shape[1:]:
        raise ValueError(
            f"precision_and_recall: got points {real.shape} and {made.shape}; expected more than "
            f"{neighbours} of each, of equal dimensions."
        )
    return _covered(made, real, neighbours), _covered(real, made, neighbours)


def _covered(points: np.ndarray, by: np.ndarray, neighbours: int) -> float:
    """The share of points within the balls of others."""
    radii = np.concatenate(  # the nearest of all is the point itself
        [np.partition(d, neighbours, axis=1)[:, neighbours] for d in _distances(by, by)]
    )
    return float(
        np.mean(np.concatenate([(d <= radii).any(axis=1) for d in _distances(points, by)]))
    )


def _distances(points: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
    """Distances of some points at a time from all others, (up to BLOCK, m) each."""
    from scipy.spatial.distance import cdist

    for start in range(0, len(points), BLOCK):
        yield cdist(points[start : start + BLOCK], others)
