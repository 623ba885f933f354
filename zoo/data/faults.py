"""What the columns of a picture have to agree on: places lie within it, and each box has a class.

`zoo.common.columns.Column` checks a column by itself; here stand those that tell of one another.
A picture without things, all of whose classes are -1, has no fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from zoo.common.columns import Column

SLACK = 1e-3  # how far a box may reach out of its picture by rounding, in pixels


class Fault(NamedTuple):
    """The first thing that is wrong.

    Attributes:
        column: Name of the column.
        place: Where in its values, (example, ...); empty where it is the column itself.
        told: What was got, and what was expected.
    """

    column: str
    place: tuple[int, ...]
    told: str


def first_fault(columns: Mapping[str, Column], values: Any) -> Fault | None:
    """Returns what is wrong with examples, or `None`.

    Args:
        columns: What an example is made of.
        values: Arrays (n, ...) by name, each of which its own `Column.check` has seen.
    """
    image = next((name for name, column in columns.items() if column.kind == "image"), None)
    if image is None:
        return None
    height, width = values[image].shape[1:3]
    return next(_faults(columns, values, (int(height), int(width))), None)


def _faults(columns: Mapping[str, Column], values: Any, side: tuple[int, int]) -> Iterator[Fault]:
    for name, column in columns.items():
        if column.kind in ("mask", "instances") and values[name].shape[1:] != side:
            got, wanted = (" x ".join(map(str, x)) for x in (values[name].shape[1:], side))
            yield Fault(name, (), f"got {got} pixels; expected {wanted}, those of the pictures.")
    classes = next((values[n] for n, column in columns.items() if column.kind == "classes"), None)
    for name, column in columns.items():
        boxes = values[name]
        if column.kind == "box":
            yield from _of_boxes(name, boxes, np.ones(len(boxes), bool), side)
        elif column.kind == "boxes" and name == "boxes" and classes is not None:
            yield from _of_classes(boxes, classes)
            yield from _of_boxes(name, boxes, classes >= 0, side)
        elif column.kind == "boxes":  # e.g. regions; zeros are none
            yield from _of_boxes(name, boxes, (boxes != 0).any(axis=-1), side)
        elif column.kind == "count" and classes is not None:
            yield from _of_count(name, values[name], (classes >= 0).sum(axis=1))
        elif column.kind == "instances" and classes is not None:
            yield from _of_instances(name, values[name], classes >= 0)


def _of_classes(boxes: np.ndarray, classes: np.ndarray) -> Iterator[Fault]:
    """Boxes (n, most, 4) that have no class (n, most), or whose class is -1."""
    if boxes.shape[:2] != classes.shape:
        told = f"got {boxes.shape[1]} boxes and {classes.shape[1]} classes; expected as many."
        yield Fault("boxes", (), told)
    wrong = (boxes != 0).any(axis=-1) & (classes < 0)
    for place, more in _places(wrong):
        told = f"got the box {_told(boxes[place])} of class -1; expected its class, or zeros."
        yield Fault("boxes", place, told + more)


def _of_boxes(
    name: str, boxes: np.ndarray, real: np.ndarray, side: tuple[int, int]
) -> Iterator[Fault]:
    """Boxes (..., 4) that are none, where they are real (...)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    kinds = {
        "inverted": (high < low).any(axis=-1),
        "empty": (high == low).any(axis=-1),
        "outside the picture": ((low < -SLACK) | (high > np.array(side) + SLACK)).any(axis=-1),
    }
    for what, wrong in kinds.items():
        for place, more in _places(wrong & real):
            told = (
                f"got the box {_told(boxes[place])}, which is {what}; expected y1 x1 y2 x2 in "
                f"pixels, 0 <= y1 < y2 <= {side[0]} and 0 <= x1 < x2 <= {side[1]}."
            )
            yield Fault(name, place, told + more)


def _of_count(name: str, counts: np.ndarray, found: np.ndarray) -> Iterator[Fault]:
    for place, more in _places(counts != found):
        told = f"got {counts[place]}; expected {found[place]}, how many classes are not -1."
        yield Fault(name, place, told + more)


def _of_instances(name: str, instances: np.ndarray, real: np.ndarray) -> Iterator[Fault]:
    """Pixels (n, height, width) of a box that is none of the real ones (n, most)."""
    for example, (numbers, there) in enumerate(zip(instances, real, strict=True)):
        known = [0, *(np.flatnonzero(there) + 1).tolist()]
        found = np.flatnonzero(np.bincount(numbers.ravel())).tolist()
        for number in found:
            if number not in known:
                told = f"got pixels of {number}; expected 0, or a box that has a class, from 1 on."
                yield Fault(name, (example,), told)


def _places(wrong: np.ndarray) -> Iterator[tuple[tuple[int, ...], str]]:
    """The first place that is wrong, if any, and a word on how many there are."""
    places = np.argwhere(wrong)
    if len(places):
        more = f" There are {len(places)} such." if len(places) > 1 else ""
        yield tuple(places[0].tolist()), more


def _told(box: np.ndarray) -> str:
    return "[" + ", ".join(f"{place:g}" for place in box) + "]"
