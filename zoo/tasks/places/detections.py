"""What a detector found in a split: average precision, what it took for what, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.common.placed import pasted
from zoo.metrics.detection import Things, averages, confusion, curves, evaluated, packed
from zoo.tasks import pictures, plots
from zoo.tasks.kept_pictures import KeptPictures
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    from zoo.common.columns import Column

SHOWN = 16  # pictures that the meter keeps
SHOWN_SCORE = 0.5  # of the boxes that are drawn, and counted in the confusion matrix
NOTHING = "nothing"  # what is neither there nor found, beside the classes


class Found:
    """Collects boxes, masks where there are some, and a few pictures to draw them in.

    Args:
        columns: The data set's columns, by name.
    """

    def __init__(self, columns: Mapping[str, Column]):
        self._image, self._names = next(iter(columns)), columns["classes"].names
        self._truth: list[Things] = []
        self._found: list[Things] = []
        self._counts = np.zeros((len(self._names) + 1,) * 2, np.int64)
        self._kept = KeptPictures(SHOWN)

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: Pictures, `boxes` and `classes`; `instances` where masks are known.
            outputs: `boxes` (b, n, 4), `scores` and `classes` (b, n); `masks` (b, n, h, w).
        """
        side, first = batch[self._image].shape[1:3], len(self._truth)
        for index, classes in enumerate(batch["classes"]):
            there = classes >= 0
            masks = None
            if "instances" in batch and "masks" in outputs:
                numbers = np.flatnonzero(there) + 1
                masks = batch["instances"][index][None] == numbers[:, None, None]
            truth = Things(batch["boxes"][index][there], classes[there], None, masks)
            self._truth.append(packed(truth))
            self._found.append(packed(things(outputs, index, side)))
        pairs = list(zip(self._truth[first:], self._found[first:], strict=True))
        counts = [confusion(*pair, len(self._names), score=SHOWN_SCORE) for pair in pairs]
        self._counts += np.sum(counts, axis=0)
        rows = [(image, *pair) for image, pair in zip(batch[self._image], pairs, strict=True)]
        self._kept.add(rows, [_wrong(own) for own in counts])

    def result(self) -> Evaluation:
        """Measures as COCO does, see `zoo.metrics.detection`.

        Returns:
            `map`, `ap50`, `ap75` ... of boxes, and `mask_map`, `mask_ap50` ... where there are
            masks, with the tables `per_class` (`label`, `ap`, `support`), `confusion` (see
            `zoo.metrics.detection.confusion`, of boxes with a score of at least one half) and
            `worst`, and the pictures `precision_recall`, `mask_precision_recall`, `confusion`,
            `boxes`, with the true ones above those found, and `worst`: those with the largest share
            of things, true and found, that have no partner of their class.
        """
        done = evaluated(self._truth, self._found, self._names)
        metrics, each = averages(done)
        drawn = {"precision_recall": partial(plots.precision_recall, *curves(done), self._names)}
        if any(one.masks is not None for one in self._truth):
            done = evaluated(self._truth, self._found, self._names, masks=True)
            metrics |= {f"mask_{name}": value for name, value in averages(done)[0].items()}
            masks = partial(plots.precision_recall, *curves(done), self._names)
            drawn["mask_precision_recall"] = masks
        counts = np.zeros(len(self._names), int)
        for one in self._truth:
            counts += np.bincount(one.classes, minlength=len(counts))
        rows = [
            {"label": name, "ap": ap, "support": int(count)}
            for name, ap, count in zip(self._names, each, counts, strict=True)
        ]
        names = (*self._names, NOTHING)
        drawn["confusion"] = partial(plots.confusion, self._counts, names)
        return Evaluation(
            metrics,
            {"per_class": rows, "confusion": self._counts.tolist(), **self._kept.tables()},
            drawn | self._kept.pictures("boxes", _draw, self._names),
        )


def _wrong(counts: np.ndarray) -> float:
    """The share of a picture's things, true and found, that have no partner of their class."""
    things = counts[:-1].sum() + counts[:, :-1].sum()
    return float(1 - 2 * np.trace(counts) / things) if things else 0.0


def things(outputs: Mapping[str, np.ndarray], index: int, side: tuple[int, ...]) -> Things:
    """Returns what a detector found in one picture of a batch.

    Args:
        outputs: What it answers with, NumPy arrays.
        index: The picture.
        side: Height and width of the picture, in pixels.
    """
    real = outputs["scores"][index] > 0
    boxes = outputs["boxes"][index][real]
    masks = None
    if "masks" in outputs:
        pairs = zip(outputs["masks"][index][real], boxes, strict=True)
        masks = np.array([pasted(mask, box, side) for mask, box in pairs]).reshape(-1, *side)
    return Things(boxes, outputs["classes"][index][real], outputs["scores"][index][real], masks)


def _draw(kept: list[tuple[Any, ...]], names: tuple[str, ...], path: Any) -> None:
    """Draws pictures with the true boxes, and below them with those found."""
    rows: list[list[np.ndarray]] = [[], []]
    for image, truth, found in kept:
        sure = found.scores >= SHOWN_SCORE
        shown = pictures.shown(image)
        for row, boxes, classes in (
            (rows[0], truth.boxes, truth.classes),
            (rows[1], found.boxes[sure], found.classes[sure]),
        ):
            colours = [pictures.colour(kind) for kind in classes]
            words = [names[kind] for kind in classes]
            row.append(pictures.draw_boxes(shown, boxes, words, colours=colours, times=2))
    pictures.grid(rows, path)
