"""Measures of masks, from counts of pixels: rows are true classes, columns are guessed ones.

Intersections and unions are summed over a whole split: a mean of ratios would let a scene with a
speck of foreground count as much as a full one.
"""

from __future__ import annotations

import numpy as np

from zoo.common.columns import IGNORED


def count_pixels(masks: np.ndarray, guesses: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many pixels of each class were guessed as each, (classes, classes), int64.

    Args:
        masks: True classes, of any shape; pixels that are `IGNORED` are not counted.
        guesses: Guessed classes, of the same shape, each below `num_classes`.
        num_classes: Number of classes.
    """
    known = masks != IGNORED
    pairs = masks[known].astype(np.int64) * num_classes + guesses[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def pixel_accuracy(counts: np.ndarray) -> float:
    """Returns the share of the pixels that are right."""
    return float(np.trace(counts) / max(counts.sum(), 1))


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Returns intersection over union of each class, (classes,); NaN where there is no pixel."""
    right = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - right
    return np.divide(right, union, out=np.full(len(counts), np.nan), where=union > 0)


def mean_iou(counts: np.ndarray) -> float:
    """Returns the mean of `class_iou` over the classes that there are."""
    return float(np.nanmean(class_iou(counts))) if counts.sum() else 0.0


def foreground_iou(counts: np.ndarray) -> float:
    """Returns intersection over union of all classes but the first together; of nothing, 0."""
    return float(counts[1:, 1:].sum() / max(counts.sum() - counts[0, 0], 1))
