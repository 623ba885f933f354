"""What a linear classifier makes of numbers: the usual measure of a code without labels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

STRENGTHS = (0.1, 1.0, 10.0)  # inverse weights of the penalty that are tried
HELD_OUT = 5  # one in so many examples chooses among them
STEPS = 150


def measure(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray
) -> dict[str, Any]:
    """Fits scikit-learn's logistic regression, and measures it.

    The weight of its penalty is the best of `STRENGTHS` on the last fifth of the training examples,
    learnt from the others; then it learns from all.

    Args:
        train: Numbers (n, features).
        labels: Classes (n,).
        test: Numbers (m, features).
        truth: Classes (m,).

    Returns:
        `dimensions`, `labels`, `strength` and `top1`.
    """
    cut = len(train) - len(train) // HELD_OUT
    strength = STRENGTHS[0]
    if len(np.unique(labels[:cut])) > 1 and cut < len(train):
        ends = train[:cut], labels[:cut]
        scores = [_fit(*ends, each).score(train[cut:], labels[cut:]) for each in STRENGTHS]
        strength = STRENGTHS[int(np.argmax(scores))]
    top1 = _fit(train, labels, strength).score(test, truth)
    return {
        "dimensions": train.shape[1],
        "labels": len(train),
        "strength": strength,
        "top1": float(top1),
    }


def _fit(train: np.ndarray, labels: np.ndarray, strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Threads wait for each other longer than they compute: beside TensorFlow's, for minutes.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=STEPS).fit(train, labels)
