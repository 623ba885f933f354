"""What a dense captioner found and said of a split, and pictures with its phrases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.common.sentences import words
from zoo.metrics.boxes import iou
from zoo.metrics.dense_captions import Described, average_precision
from zoo.tasks import pictures
from zoo.tasks.kept_pictures import KeptPictures
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    from zoo.common.columns import Column

SHOWN = 8  # pictures that the meter keeps
SHOWN_SCORE = 0.5  # of the boxes that are drawn
SHOWN_OVERLAP = 0.5  # from which on a box has found a thing
TIMES = 3  # how many times larger they are drawn


class Phrases:
    """Collects boxes and their phrases, and a few pictures to draw them in.

    Args:
        columns: The data set's columns, by name.
    """

    def __init__(self, columns: Mapping[str, Column]):
        self._image, self._names = next(iter(columns)), columns["phrases"].names
        self._truth: list[Described] = []
        self._found: list[Described] = []
        self._kept = KeptPictures(SHOWN)

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: Pictures, `boxes`, `classes` and `phrases`.
            outputs: `boxes` (b, n, 4), `scores` (b, n) and `phrases` (b, n, time).
        """
        truth, found = [], []
        for boxes, classes, phrases in zip(
            *(batch[name] for name in ("boxes", "classes", "phrases")), strict=True
        ):
            there = classes >= 0
            truth.append(Described(boxes[there], self._words(phrases[there])))
        for boxes, scores, phrases in zip(
            *(outputs[name] for name in ("boxes", "scores", "phrases")), strict=True
        ):
            there = scores > 0
            own = self._words(phrases[there])
            found.append(Described(boxes[there], own, scores[there]))
        self._truth += truth
        self._found += found
        rows = list(zip(batch[self._image], truth, found, strict=True))
        self._kept.add(rows, [missed(*both) for _, *both in rows])

    def result(self) -> Evaluation:
        """Measures as DenseCap's authors do, see `zoo.metrics.dense_captions`.

        Returns:
            The metrics of `average_precision`, the tables `by_overlap` (`overlap`, `ap`) and
            `worst`, and the pictures `phrases` and `worst`: the true ones above, those found with a
            score of at least one half below.
        """
        metrics = average_precision(self._truth, self._found)
        rows = [
            {"overlap": int(name[2:]) / 100, "ap": value}
            for name, value in metrics.items()
            if name.startswith("ap")
        ]
        tables = {"by_overlap": rows, **self._kept.tables()}
        return Evaluation(metrics, tables, self._kept.pictures("phrases", draw))

    def _words(self, phrases: np.ndarray) -> list[list[str]]:
        return [words(row, self._names) for row in phrases]


def missed(truth: Described, found: Described) -> float:
    """Returns the share of the true things of a picture that no sure box names word for word."""
    if not len(truth.boxes):
        return 0.0
    ours, theirs = (np.asarray(one.boxes, np.float32) for one in (found, truth))
    overlaps = np.asarray(iou(theirs[:, None], ours[None]))  # (true, found)
    said = np.array(
        [[one == other for other in found.phrases] for one in truth.phrases], bool
    ).reshape(overlaps.shape)
    sure = np.ones(len(found.boxes)) if found.scores is None else found.scores >= SHOWN_SCORE
    named = (said & (overlaps >= SHOWN_OVERLAP) & sure.astype(bool)).any(axis=1)
    return float(1 - named.mean())


def draw(kept: list[tuple[np.ndarray, Described, Described]], path: Any) -> None:
    """Draws pictures with the true phrases, and below them with those that were found.

    Args:
        kept: Pixels or inputs (height, width, 1 or 3) of one size, what is there, and what was
            found.
        path: The PNG to write.
    """
    rows: list[list[np.ndarray]] = [[], []]
    for image, *both in kept:
        for row, one in zip(rows, both, strict=True):
            sure = slice(None) if one.scores is None else one.scores >= SHOWN_SCORE
            boxes = one.boxes[sure]  # the surest come first
            names = [" ".join(said) for said in one.phrases[: len(boxes)]]
            row.append(pictures.draw_boxes(pictures.shown(image), boxes, names, times=TIMES))
    pictures.grid(rows, path)
