"""Segment, then classify: a line of digits is cut first, and each piece is read by itself.

It is what LeCun et al. 1998, Proceedings of the IEEE 86(11), section V, set out from: a cut that is
wrong is never mended. A line is cut where columns have no ink; a piece that is wider than a digit
is cut again where it has the least. Pieces are read by their nearest neighbours among digits, cut
out alike.

`python -m zoo.baselines.cut_lines` prints its label error beside those that are learnt as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from zoo.data.sets import mnist5k
from zoo.data.sets.digit_lines import INK, load
from zoo.data.sets.digit_lines import NAMES as LABELS
from zoo.metrics.edits import label_error

SIDE = 28  # of the squares that are compared
NARROWEST, WIDEST = 3, 24  # columns of a piece: fewer is no digit, more are several


def pieces(line: np.ndarray) -> list[np.ndarray]:
    """Returns the parts of a line that are taken for a digit, from the left, (height, width) each.

    Args:
        line: Grey levels (height, width), 0 to 1.
    """
    dark = line > INK / 255
    found = []
    for start, stop in _runs(np.asarray(dark.any(axis=0))):
        found += _narrow(dark.sum(axis=0), start, stop)
    return [line[:, start:stop] for start, stop in found if stop - start >= NARROWEST]


def _runs(there: np.ndarray) -> list[tuple[int, int]]:
    """Where columns with ink begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _narrow(ink: np.ndarray, start: int, stop: int) -> list[tuple[int, int]]:
    """Cuts a piece that is too wide where it has the least ink, in its middle half."""
    if stop - start <= WIDEST:
        return [(start, stop)]
    quarter = (stop - start) // 4
    cut = start + quarter + int(ink[start + quarter : stop - quarter].argmin())
    return [*_narrow(ink, start, cut), *_narrow(ink, cut, stop)]


def square(piece: np.ndarray) -> np.ndarray:
    """Returns what has ink of a piece in the middle of a square, flat, (784,)."""
    rows, columns = np.nonzero(piece > INK / 255)
    whole = np.zeros((SIDE, SIDE), np.float32)
    if len(rows):
        cut = piece[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1][:SIDE, :SIDE]
        top, left = ((SIDE - side) // 2 for side in cut.shape)
        whole[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return whole.ravel()


def read(lines: np.ndarray) -> list[list[int]]:
    """Returns the labels of lines (n, width, height), as `digit_lines` has them."""
    digits = mnist5k.splits()["train"]
    known = np.stack([square(image[..., 0] / 255) for image in digits["image"]])
    nearest = KNeighborsClassifier(3).fit(known, digits["label"] + 1)
    cut = [pieces(line.T) for line in lines]
    every = np.stack([square(piece) for line in cut for piece in line])
    labels = iter(nearest.predict(every).tolist())
    return [[next(labels) for _ in line] for line in cut]


def error(lines: np.ndarray, tokens: Sequence[Sequence[int]]) -> float:
    """Returns the label error of reading lines (n, width, height) whose `tokens` are known."""
    return label_error(read(lines), [[label for label in row if label] for row in tokens])


if __name__ == "__main__":
    import sys

    test = load().test
    told = f"digit_lines: {len(test):,} test lines of {len(LABELS) - 1} digits"
    sys.stdout.write(f"{told}: label error {error(test['series'], test['tokens']):.4f}\n")
