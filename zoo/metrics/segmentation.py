"""Measures of masks, from counts of pixels: rows are true classes, columns are guessed ones.

Intersections and unions are summed over a whole split: a mean of ratios would let a scene with a
speck of foreground count as much as a full one. Accuracies and IoU are those of Long et al. 2015,
arXiv:1411.4038, section 5; Dice 1945, doi:10.2307/1932409; boundaries: Csurka et al. 2013, What is
a good evaluation measure for semantic segmentation?, BMVC, section 3.
Differs: boundaries are summed over a whole split too, and are those between any two classes' pixels
that share a side, within the picture.
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


def frequency_iou(counts: np.ndarray) -> float:
    """Returns the mean of `class_iou`, each class weighing its share of the pixels; of nothing, 0.

    Between `mean_iou`, where a rare class weighs as much as any, and `pixel_accuracy`.
    """
    pixels = counts.sum(axis=1)
    return float(np.nansum(class_iou(counts) * pixels) / max(pixels.sum(), 1))


def mean_accuracy(counts: np.ndarray) -> float:
    """Returns the mean share of a class's pixels that are right, over the classes that there are.

    Those that are only guessed, and never there, have no such share; of nothing, 0.
    """
    pixels = counts.sum(axis=1)
    there = pixels > 0
    return float((np.diag(counts)[there] / pixels[there]).mean()) if there.any() else 0.0


def class_dice(counts: np.ndarray) -> np.ndarray:
    """Returns the Dice coefficient of each class, 2 IoU / (1 + IoU); NaN where there is no pixel.

    It is the F1 score of the class's pixels.
    """
    right = np.diag(counts)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return np.divide(2 * right, both, out=np.full(len(counts), np.nan), where=both > 0)


def mean_dice(counts: np.ndarray) -> float:
    """Returns the mean of `class_dice` over the classes that there are, but for the background.

    Dice is reported of what is looked for: nearly all of a picture may be background. Where there
    is nothing else, 0.
    """
    found = class_dice(counts)[1:]
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def foreground_iou(counts: np.ndarray) -> float:
    """Returns intersection over union of all classes but the first together; of nothing, 0."""
    return float(counts[1:, 1:].sum() / max(counts.sum() - counts[0, 0], 1))


TOLERANCE = 0.0075
"""How far a boundary may be off, as a share of the picture's diagonal; Martin et al. 2004."""


def reach(height: int, width: int) -> int:
    """Returns `TOLERANCE` in pixels, at least 1: 1 at 64 x 64 and 2 at 192 x 192 pixels."""
    return max(1, round(TOLERANCE * float(np.hypot(height, width))))


def count_boundaries(
    masks: np.ndarray, guesses: np.ndarray, num_classes: int, *, tolerance: int | None = None
) -> np.ndarray:
    """Counts the pixels of boundaries that have one of the other mask's near them.

    A pixel is of its class's boundary where a pixel beside, above or below it is of another class;
    the picture's edge is none, and pixels that are `IGNORED` have no class and end none.

    Args:
        masks: True classes, (n, height, width).
        guesses: Guessed classes, of the same shape, each below `num_classes`.
        num_classes: Number of classes.
        tolerance: Largest distance of near ones, in pixels; `None` for `reach`.

    Returns:
        For each class: guessed ones near a true one, guessed ones, true ones near a guessed one,
        true ones; (classes, 4), int64.
    """
    from scipy import ndimage

    tolerance = reach(*masks.shape[1:]) if tolerance is None else tolerance
    found = np.zeros((num_classes, 4), np.int64)
    for mask, guess in zip(masks, guesses, strict=True):
        known = mask != IGNORED
        lines = [edges(np.where(known, classes, IGNORED)) for classes in (mask, guess)]
        for label in range(num_classes):
            true, guessed = (
                line & (classes == label)
                for line, classes in zip(lines, (mask, guess), strict=True)
            )
            for place, (one, other) in enumerate(((guessed, true), (true, guessed))):
                found[label, 2 * place + 1] += one.sum()
                if one.any() and other.any():
                    near = ndimage.distance_transform_edt(~other)[one] <= tolerance
                    found[label, 2 * place] += near.sum()
    return found


def edges(classes: np.ndarray) -> np.ndarray:
    """Returns where a pixel has one of another class beside, above or below it, (height, width)."""
    at = np.zeros(classes.shape, bool)
    known = classes != IGNORED
    for axis in (0, 1):
        low, high = (
            tuple(part if a == axis else slice(None) for a in (0, 1))
            for part in (slice(None, -1), slice(1, None))
        )
        differ = (classes[low] != classes[high]) & known[low] & known[high]
        at[low] |= differ
        at[high] |= differ
    return at


def boundary_f(counts: np.ndarray) -> float:
    """Returns the mean over the classes of the F score of boundaries, from `count_boundaries`.

    Precision is the share of guessed boundary pixels that have a true one near them, recall that of
    true ones. Of a class that has no boundary at all nothing is said; of nothing, 0.
    """
    near, guessed, reached, true = counts.T.astype(np.float64)
    there = guessed + true > 0
    precision, recall = near / np.maximum(guessed, 1), reached / np.maximum(true, 1)
    both = precision + recall
    scores = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return float(scores[there].mean()) if there.any() else 0.0
