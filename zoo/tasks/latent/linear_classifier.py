"""What a linear classifier makes of numbers: the usual measure of a code without labels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # inverse weights of the penalty that are tried
SPREAD = 1e-3  # the smallest deviation that numbers are divided by
HELD_OUT = 5  # one in so many examples chooses among them
STEPS = 150


def measure(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray
) -> dict[str, Any]:
    """Fits scikit-learn's logistic regression, and measures it.

    Whether numbers are divided by their deviations, and the weight of the penalty, are those that
    are best on the last fifth of the training examples, learnt from the others; then it learns from
    all. So codes and pixels each have what suits them.

    Args:
        train: Numbers (n, features).
        labels: Classes (n,).
        test: Numbers (m, features).
        truth: Classes (m,).

    Returns:
        `dimensions`, `labels`, `standardized`, `strength` and `top1`.
    """
    cut = len(train) - len(train) // HELD_OUT
    ways = [(scaled, strength) for scaled in (False, True) for strength in STRENGTHS]
    best = ways[0]
    if len(np.unique(labels[:cut])) > 1 and cut < len(train):
        ends = train[:cut], labels[:cut], train[cut:], labels[cut:]
        best = ways[int(np.argmax([_score(*ends, *way) for way in ways]))]
    scaled, strength = best
    return {
        "dimensions": train.shape[1],
        "labels": len(train),
        "standardized": scaled,
        "strength": strength,
        "top1": _score(train, labels, test, truth, scaled, strength),
    }


def _score(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    truth: np.ndarray,
    scaled: bool,
    strength: float,
) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if scaled:
        mean, spread = train.mean(axis=0), np.maximum(train.std(axis=0), SPREAD)
        train, test = (train - mean) / spread, (test - mean) / spread
    # Threads wait for each other longer than they compute: beside TensorFlow's, for minutes.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine = LogisticRegression(C=strength, max_iter=STEPS).fit(train, labels)
        return float(machine.score(test, truth))
