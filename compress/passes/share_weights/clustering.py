"""k-means of weights: numbers on a line, where sorting makes each step a look-up.

Sources: Lloyd 1982, IEEE Trans. Inf. Theory 28(2); starts by Han, Mao & Dally 2016,
arXiv:1510.00149, section 3.2 (linear, density, random), and by Arthur & Vassilvitskii 2007, SODA
(k-means++). After the sort a step takes O(k log n), not the O(k n) of points in space.
"""

from __future__ import annotations

import numpy as np

STARTS = ("linear", "density", "random", "kmeans++")
MAX_STEPS = 1000
SAMPLE = 100_000  # weights that `kmeans++` looks at


def cluster(weights: np.ndarray, size: int, *, start: str, seed: int = 0) -> np.ndarray:
    """Returns at most `size` values that are near the weights, sorted, float32.

    Args:
        weights: Numbers, of any shape.
        size: Number of values.
        start: One of `STARTS`.
        seed: Seed of a random start.
    """
    line = np.sort(weights, axis=None).astype(np.float64)
    distinct = np.unique(line)
    if distinct.size <= size:
        return distinct.astype(np.float32)
    sums = np.concatenate([[0.0], np.cumsum(line)])
    values = np.unique(begin(line, size, start=start, seed=seed))
    for _ in range(MAX_STEPS):
        # Cluster i holds line[bounds[i] : bounds[i + 1]].
        middles = (values[1:] + values[:-1]) / 2
        bounds = np.concatenate([[0], np.searchsorted(line, middles), [line.size]])
        counts = np.diff(bounds)
        filled = counts > 0  # an empty cluster stays where it is
        means = values.copy()
        means[filled] = np.diff(sums[bounds])[filled] / counts[filled]
        if np.array_equal(means, values):
            break
        values = means
    return np.unique(values.astype(np.float32))


def begin(line: np.ndarray, size: int, *, start: str, seed: int = 0) -> np.ndarray:
    """Returns the values that k-means starts from, (size,).

    `linear` spaces them evenly between the smallest and the largest weight, `density` evenly in
    the number of weights, `random` draws weights, `kmeans++` draws them with a probability
    that grows with the squared distance to those drawn already.

    Args:
        line: The weights, sorted.
        size: Number of values.
        start: One of `STARTS`.
        seed: Seed of the draws.
    """
    random = np.random.RandomState(seed)
    if start == "linear":
        return np.linspace(line[0], line[-1], size)
    if start == "density":
        return np.quantile(line, np.linspace(0, 1, size))
    if start == "random":
        return random.choice(line, size, replace=False)
    from sklearn.cluster import kmeans_plusplus

    sample = line if line.size <= SAMPLE else random.choice(line, SAMPLE, replace=False)
    centers, _ = kmeans_plusplus(sample[:, None], size, random_state=seed)
    found: np.ndarray = centers[:, 0]
    return found


def nearest_of(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns each weight's nearest value; of two equally near ones, the larger.

    Args:
        weights: Numbers, of any shape.
        values: Sorted, at least one.
    """
    middles = (values[1:] + values[:-1]) / 2
    found: np.ndarray = values[np.searchsorted(middles, weights, side="right")]
    return found
