"""Calibration: whether a model that says 80 % is right in 80 % of the cases.

Source: Guo et al. 2017, On calibration of modern neural networks, arXiv:1706.04599, section 2: 15
bins of equal width over the confidence, the probability of the guess. Limit: with few examples in a
bin the error is biased upwards; compare models on the same split only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NUM_BINS = 15


class Bin(NamedTuple):
    """One row of the reliability table.

    Attributes:
        low: Confidences in the bin are above this, or equal to it in the first bin.
        high: Confidences in the bin are at most this.
        num: Number of examples.
        confidence: Mean confidence; 0 in an empty bin.
        accuracy: Fraction of right guesses; 0 in an empty bin.
    """

    low: float
    high: float
    num: int
    confidence: float
    accuracy: float


def reliability(
    confidences: np.ndarray, right: np.ndarray, num_bins: int = NUM_BINS
) -> tuple[Bin, ...]:
    """Returns the reliability table, one row for each bin.

    Args:
        confidences: Probability of each guess, (n,), in [0, 1].
        right: Whether each guess is right, (n,).
        num_bins: Number of bins of equal width.

    Raises:
        ValueError: A confidence is not in [0, 1], or there is no bin.
    """
    if num_bins < 1 or not ((confidences >= 0) & (confidences <= 1)).all():
        raise ValueError(
            f"reliability: got {num_bins} bins and confidences from {np.min(confidences)} to "
            f"{np.max(confidences)}; expected at least 1 bin, and probabilities."
        )
    edges = np.linspace(0, 1, num_bins + 1)
    place = np.searchsorted(edges[1:-1], confidences, side="left")  # (n,), of (low, high]
    rows = []
    for index in range(num_bins):
        here = place == index
        count = int(here.sum())
        means = (
            (float(confidences[here].mean()), float(right[here].mean())) if count else (0.0,) * 2
        )
        rows.append(Bin(float(edges[index]), float(edges[index + 1]), count, *means))
    return tuple(rows)


def expected_error(bins: Sequence[Bin]) -> float:
    """Returns the expected calibration error: the mean of |accuracy - confidence|, in [0, 1].

    Each bin weighs as many examples as it has.
    """
    total = sum(row.num for row in bins)
    return sum(row.num * abs(row.accuracy - row.confidence) for row in bins) / total


def worst_error(bins: Sequence[Bin]) -> float:
    """Returns the maximum calibration error: the largest |accuracy - confidence| of any bin."""
    return max(abs(row.accuracy - row.confidence) for row in bins if row.num)
