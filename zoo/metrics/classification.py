"""Measures of class labels: top-k accuracy, each class, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def top_k_accuracy(labels: np.ndarray, outputs: np.ndarray, k: int) -> float:
    """Returns the fraction of examples whose label is among the k largest outputs.

    Among equal outputs the first counts as larger, as in `argmax`: a net whose outputs are all the
    same knows nothing and gains nothing.

    Args:
        labels: Class indices, (n,).
        outputs: (n, classes).
        k: At least 1; from the number of classes on, the answer is 1.
    """
    own = outputs[np.arange(len(labels)), labels][:, None]  # (n, 1)
    earlier = np.arange(outputs.shape[1]) < labels[:, None]  # (n, classes)
    before = (outputs > own) | ((outputs == own) & earlier)
    # A comparison with NaN is false, which would put NaN first.
    return float(np.mean((before.sum(axis=1) < k) & np.isfinite(own[:, 0])))


def per_class(
    labels: np.ndarray, guesses: np.ndarray, names: Sequence[str]
) -> tuple[dict[str, Any], ...]:
    """Returns `label`, `precision`, `recall`, `f1` and `support` of each class.

    A ratio of nothing to nothing is 0: the precision of a class that is never guessed.

    Args:
        labels: Class indices, (n,).
        guesses: Class indices, (n,).
        names: Class names.
    """
    from sklearn.metrics import precision_recall_fscore_support

    scores = precision_recall_fscore_support(
        labels, guesses, labels=range(len(names)), zero_division=0.0
    )
    return tuple(
        {
            "label": name,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(names, *scores, strict=True)
    )


def confusion_matrix(labels: np.ndarray, guesses: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns counts (classes, classes); rows are true classes, columns are guessed ones.

    Args:
        labels: Class indices, (n,).
        guesses: Class indices, (n,).
        num_classes: Number of classes.
    """
    from sklearn.metrics import confusion_matrix as count

    counts: np.ndarray = count(labels, guesses, labels=range(num_classes))
    return counts
