"""Boxes that a detector answers with, in a picture's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.common.answers import SIDES
from zoo.common.preprocessing import Preprocessing

Row = dict[str, Any]


def in_picture(rows: Sequence[Row], size: tuple[int, int], known: Preprocessing) -> list[Row]:
    """Returns rows with boxes in a picture's own pixels; they may reach over its edge.

    Args:
        rows: `y1`, `x1`, `y2`, `x2` in pixels of the picture as the model sees it, among others.
        size: Width and height of the picture.
        known: How the model sees it.
    """
    width, height = size
    side = known.size or 0
    spare = side - height, side - width
    if all(0 <= gap <= known.pad for gap in spare):  # it has a frame, see `zoo.common.images.fit`
        frames, factors = (spare[0] // 2, spare[1] // 2), (1.0, 1.0)
    else:
        frames, factors = (0, 0), (height / side, width / side)
    return [
        row
        | {
            name: (row[name] - frames[axis % 2]) * factors[axis % 2]
            for axis, name in enumerate(SIDES)
        }
        for row in rows
    ]


def clipped(rows: Sequence[Row], size: tuple[int, int]) -> list[Row]:
    """Returns rows with boxes cut at a picture's edge.

    Args:
        rows: `y1`, `x1`, `y2`, `x2` in pixels of the picture, among others.
        size: Width and height of the picture.
    """
    ends = size[::-1]
    return [
        row | {name: min(max(row[name], 0.0), ends[axis % 2]) for axis, name in enumerate(SIDES)}
        for row in rows
    ]
