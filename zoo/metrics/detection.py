"""Average precision of boxes and masks, by COCO's own evaluation (pycocotools).

Source: Lin et al. 2014, Microsoft COCO, arXiv:1405.0312, and its evaluation: precision over recall
at intersections over union of .50 to .95.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo.common.placed import encoded

NAMES = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
RECALLS = ("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")


class Things(NamedTuple):
    """What is in a picture, or what was found in it.

    Attributes:
        boxes: y1 x1 y2 x2 in pixels, (n, 4).
        classes: Index of the class of each, (n,).
        scores: Of each, (n,); `None` for the truth.
        masks: Whether a pixel is of the thing, (n, height, width), bool, or n masks that
            pycocotools has encoded, see `packed`; `None` where not known.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | list[dict[str, Any]] | None = None


def packed(things: Things) -> Things:
    """Returns the things with masks as run lengths, which take a hundredth of the memory."""
    if things.masks is None or not len(things.masks):
        return things
    return things._replace(masks=[encoded(mask) for mask in things.masks])


def average_precision(
    truth: Sequence[Things], found: Sequence[Things], names: Sequence[str], *, masks: bool = False
) -> tuple[dict[str, float], list[float | None]]:
    """Measures detections as COCO does.

    Args:
        truth: What is in each picture.
        found: What was found in each.
        names: Names of the classes.
        masks: Whether overlaps are those of masks, not of boxes.

    Returns:
        See `averages`.
    """
    return averages(evaluated(truth, found, names, masks=masks))


def evaluated(
    truth: Sequence[Things], found: Sequence[Things], names: Sequence[str], *, masks: bool = False
) -> Any:
    """Returns COCO's own evaluation, a `pycocotools.cocoeval.COCOeval` that has accumulated.

    Args:
        truth: See `average_precision`, likewise the others.
        found: What was found in each.
        names: Names of the classes.
        masks: Whether overlaps are those of masks.
    """
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = _dataset(truth, names, masks=masks)
        rows = _rows(found, masks=masks)
        for row in rows:
            if "segmentation" in row:
                del row["bbox"]  # `loadRes` would take the box's area for the mask's
        # `loadRes` refuses an empty list.
        results = known.loadRes(rows) if rows else _dataset([Things(*_NONE)] * len(truth), names)
        done = COCOeval(known, results, "segm" if masks else "bbox")
        done.evaluate()
        done.accumulate()
        done.summarize()
    return done


def averages(done: Any) -> tuple[dict[str, float], list[float | None]]:
    """Returns the figures of an evaluation.

    Args:
        done: What `evaluated` returned.

    Returns:
        `map`, the mean over thresholds of .50 to .95 and over classes; `ap50`, `ap75`; `ap_small`,
        `ap_medium` and `ap_large` of things below 32 x 32, below 96 x 96 and above; and recalls
        `ar1`, `ar10`, `ar100` with so many boxes a picture, `ar_small` ...; without those that have
        no things, but for `map`, which is NaN then. And the average precision of each class, `None`
        for one without things.
    """
    means = dict(zip((*NAMES, *RECALLS), map(float, done.stats), strict=True))
    precision = done.eval["precision"][:, :, :, 0, -1]  # threshold, recall, class
    each = []
    for index in range(precision.shape[2]):
        own = precision[:, :, index]
        each.append(float(own.mean()) if (own > -1).all() else None)
    found = {name: value for name, value in means.items() if value >= 0}
    return {"map": float("nan"), **found}, each


def curves(done: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns precision over recall at intersections over union of .50 and .75.

    Args:
        done: What `evaluated` returned.

    Returns:
        COCO's own precision (recalls, classes) at each, NaN of a class without things; and the
        recalls (101,).
    """
    precision = done.eval["precision"][:, :, :, 0, -1]  # threshold, recall, class
    found = {}
    for name, threshold in (("IoU .50", 0.5), ("IoU .75", 0.75)):
        own = precision[np.isclose(done.params.iouThrs, threshold).argmax()]
        found[name] = np.where(own > -1, own, np.nan)
    return found, np.asarray(done.params.recThrs)


def confusion(
    truth: Things, found: Things, num_classes: int, *, score: float, overlap: float = 0.5
) -> np.ndarray:
    """Counts the things of each class that were found as each, by their boxes.

    From the surest on, each box that was found takes the free true one that it overlaps with most,
    of whatever class.

    Args:
        truth: What is in a picture.
        found: What was found in it.
        num_classes: Number of classes.
        score: Score from which on a box counts as found.
        overlap: Intersection over union from which on it may take a true one.

    Returns:
        (classes + 1, classes + 1), int64: rows are true classes, columns found ones. The last row
        is of what was found where nothing is, the last column of what was not found.
    """
    from pycocotools import mask as rle

    scores = np.asarray(found.scores)
    order = np.argsort(-scores, kind="stable")[: int((scores >= score).sum())]
    counts = np.zeros((num_classes + 1,) * 2, np.int64)
    free = np.ones(len(truth.classes), bool)
    sides = [_wide(boxes) for boxes in (found.boxes[order], truth.boxes)]
    shared = np.zeros((len(order), len(free)))
    if shared.size:
        shared = rle.iou(*sides, np.zeros(len(free), np.uint8))
    for kind, row in zip(found.classes[order], shared, strict=True):
        row = np.where(free, row, 0)
        taken = bool(len(row)) and row.max() >= overlap
        true = truth.classes[row.argmax()] if taken else num_classes
        counts[true, kind] += 1
        if taken:
            free[row.argmax()] = False
    np.add.at(counts[:, -1], np.asarray(truth.classes)[free], 1)
    return counts


def _wide(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) as x1 y1 width height, float64, as COCO has them."""
    y1, x1, y2, x2 = np.asarray(boxes, float).reshape(-1, 4).T
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)


_NONE = (np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))


def _dataset(pictures: Sequence[Things], names: Sequence[str], *, masks: bool = False) -> Any:
    from pycocotools.coco import COCO

    rows = _rows(pictures, masks=masks)
    for number, row in enumerate(rows, start=1):
        row |= {"id": number, "iscrowd": 0}
    sides = [_side(one) for one in pictures]
    known = COCO()
    known.dataset = {
        "info": {},
        "images": [
            {"id": index} | dict(zip(("height", "width"), side, strict=bool(side)))
            for index, side in enumerate(sides)
        ],
        "annotations": rows,
        "categories": [{"id": index, "name": name} for index, name in enumerate(names)],
    }
    known.createIndex()
    return known


def _side(things: Things) -> tuple[int, ...]:
    """Height and width of a picture whose masks are known."""
    if isinstance(things.masks, list):
        return tuple(things.masks[0]["size"]) if things.masks else ()
    return () if things.masks is None else things.masks.shape[1:]


def _rows(pictures: Sequence[Things], *, masks: bool) -> list[dict[str, Any]]:
    from pycocotools import mask as rle

    rows = []
    for picture, things in enumerate(pictures):
        for index, (y1, x1, y2, x2) in enumerate(np.asarray(things.boxes, float).tolist()):
            row: dict[str, Any] = {
                "image_id": picture,
                "category_id": int(things.classes[index]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
            }
            if masks and things.masks is not None:
                own = things.masks[index]
                own = own if isinstance(own, dict) else encoded(own)
                row |= {"segmentation": own, "area": float(rle.area(own))}
            if things.scores is not None:
                row["score"] = float(things.scores[index])
            rows.append(row)
    return rows
