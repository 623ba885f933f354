"""What a dense captioner found and said of a split, and pictures with its phrases."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.common.sentences import words
from zoo.metrics.dense_captions import Described, average_precision
from zoo.tasks import pictures
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    from zoo.common.columns import Column

SHOWN = 8  # pictures that the meter keeps
SHOWN_SCORE = 0.5  # of the boxes that are drawn
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
        self._kept: list[np.ndarray] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: Pictures, `boxes`, `classes` and `phrases`.
            outputs: `boxes` (b, n, 4), `scores` (b, n) and `phrases` (b, n, time).
        """
        for boxes, classes, phrases in zip(
            *(batch[name] for name in ("boxes", "classes", "phrases")), strict=True
        ):
            there = classes >= 0
            self._truth.append(Described(boxes[there], self._words(phrases[there])))
        for boxes, scores, phrases in zip(
            *(outputs[name] for name in ("boxes", "scores", "phrases")), strict=True
        ):
            there = scores > 0
            own = self._words(phrases[there])
            self._found.append(Described(boxes[there], own, scores[there]))
        self._kept += list(batch[self._image][: SHOWN - len(self._kept)])

    def result(self) -> Evaluation:
        """Measures as DenseCap's authors do, see `zoo.metrics.dense_captions`.

        Returns:
            The metrics of `average_precision`, the table `by_overlap` (`overlap`, `ap`), and the
            picture `phrases`: the true ones above, those found with a score of at least one half
            below.
        """
        metrics = average_precision(self._truth, self._found)
        rows = [
            {"overlap": int(name[2:]) / 100, "ap": value}
            for name, value in metrics.items()
            if name.startswith("ap")
        ]
        drawn = partial(draw, self._kept, self._truth, self._found)
        return Evaluation(metrics, {"by_overlap": rows}, {"phrases": drawn})

    def _words(self, phrases: np.ndarray) -> list[list[str]]:
        return [words(row, self._names) for row in phrases]


def draw(
    images: list[np.ndarray], truth: list[Described], found: list[Described], path: Any
) -> None:
    """Draws pictures with the true phrases, and below them with those that were found.

    Args:
        images: Pixels or inputs (height, width, 1 or 3) of one size.
        truth: What is in each, or in more.
        found: What was found in each.
        path: The PNG to write.
    """
    rows: list[list[np.ndarray]] = [[], []]
    for image, *both in zip(images, truth, found, strict=False):
        for row, one in zip(rows, both, strict=True):
            sure = slice(None) if one.scores is None else one.scores >= SHOWN_SCORE
            boxes = one.boxes[sure]  # the surest come first
            names = [" ".join(said) for said in one.phrases[: len(boxes)]]
            row.append(pictures.draw_boxes(pictures.shown(image), boxes, names, times=TIMES))
    pictures.grid(rows, path)
