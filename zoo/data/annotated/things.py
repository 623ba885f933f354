"""What is in an annotated picture: a box, and an outline where one is known, checked and moved.

Places are continuous, as COCO, YOLO and Labelme have them: the first pixel reaches from 0 to 1. A
pixel is within an outline if its middle is (of each ring by the even-odd rule; rings add up).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.common.images import Placing
from zoo.common.settings import shown

SLACK = 1.0  # pixels that a box or an outline may reach over the edge; it is cut there
MOST_POINTS = 5000  # of a ring


class AnnotationError(ValueError):
    """An annotation, or a picture, that is left out; it says why."""


class Runs(NamedTuple):
    """A mask as COCO's run lengths: of 0 and of 1 in turn, column by column.

    Attributes:
        height: Of the picture.
        width: Of the picture.
        counts: Lengths of the runs.
    """

    height: int
    width: int
    counts: Sequence[int]


class Thing(NamedTuple):
    """A thing in a picture, as it was annotated.

    Attributes:
        where: File and line, or annotation; it opens a problem's line.
        label: Name of its class.
        box: y1 x1 y2 x2; `None` where the outline's bounds are meant.
        rings: Polygons (points, 2) of y and x.
        runs: A mask in the place of polygons.
        shares: Whether places are shares of the picture's sides, not pixels.
    """

    where: str
    label: str
    box: np.ndarray | None = None
    rings: tuple[np.ndarray, ...] = ()
    runs: Runs | None = None
    shares: bool = False

    @property
    def outlined(self) -> bool:
        """Whether more is known than its box."""
        return bool(self.rings) or self.runs is not None


class Annotated(NamedTuple):
    """A picture with its things.

    Attributes:
        path: Its file.
        things: What is in it.
        side: Height and width by the annotation; `None` where it says nothing.
        where: The annotation.
        lost: Number of things that cannot be read: without one that can, it is not of nothing.
    """

    path: Path
    things: tuple[Thing, ...]
    side: tuple[float, float] | None
    where: str
    lost: int = 0


class Reading(NamedTuple):
    """What a layout's files say.

    Attributes:
        pictures: The pictures.
        labels: Names of the classes.
        problems: What was left out, one line each.
    """

    pictures: list[Annotated]
    labels: tuple[str, ...]
    problems: list[str]


class Placed(NamedTuple):
    """A thing in the square that its picture becomes.

    Attributes:
        box: y1 x1 y2 x2 in pixels of the square (4,), float32.
        mask: Which pixels are its (size, size), bool; `None` where only its box is known.
        doubt: What is to be told of it, though it is kept.
    """

    box: np.ndarray
    mask: np.ndarray | None
    doubt: str = ""


def class_name(value: Any) -> str:
    """Returns the name of a class.

    Raises:
        AnnotationError: It is none that can be printed in a line.
    """
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise AnnotationError(f"got {shown(value)} for a class; expected a name")
    return value.strip()


def numbers(values: Any, count: int | None = None) -> np.ndarray:
    """Returns finite numbers (count,), float64.

    Args:
        values: What a file says.
        count: How many are expected; `None` for any.

    Raises:
        AnnotationError: They are something else.
    """
    wish = f"{count} finite numbers" if count else "finite numbers"
    kinds = (int, float)
    if not isinstance(values, (list, tuple)) or not all(
        isinstance(value, kinds) and not isinstance(value, bool) for value in values
    ):
        raise AnnotationError(f"got {shown(values)}; expected {wish}")
    try:
        found = np.array([float(value) for value in values])
    except OverflowError:
        found = np.array([math.inf])
    if not np.isfinite(found).all() or count not in (None, len(found)):
        raise AnnotationError(f"got {shown(values)}; expected {wish}")
    return found


def ring(xs: Any) -> np.ndarray:
    """Returns a polygon (points, 2) of y and x from x and y in turn.

    Raises:
        AnnotationError: They are no numbers, or fewer than three points.
    """
    flat = numbers(xs)
    if len(flat) % 2 or len(flat) < 6:
        raise AnnotationError(
            f"a polygon of {len(flat)} numbers; expected x and y of 3 points or more"
        )
    return flat.reshape(-1, 2)[:, ::-1]


def placed(thing: Thing, place: Placing, size: int) -> Placed:
    """Checks a thing and moves it into the square that its picture becomes.

    Args:
        thing: As it was annotated.
        place: Where the picture lies in the square, and how large it was.
        size: Side of the square.

    Raises:
        AnnotationError: Its box or its outline is none, or not within the picture.
    """
    side = np.array([place.from_height, place.from_width], float)
    unit = side if thing.shares else np.ones(2)
    rings = [_inside(points * unit, side, "the polygon") for points in thing.rings]
    for points in rings:
        _check_ring(points)
    whole = None if thing.runs is None else _unrolled(thing.runs, place)  # (h, w)
    if thing.box is None:
        box = _bounds(rings, whole)
    else:
        box = _inside((thing.box * np.tile(unit, 2)).reshape(2, 2), side, "the box").reshape(4)
        if (box[2:] < box[:2]).any():
            raise AnnotationError(f"the box {_told(box)} (y1 x1 y2 x2) is inverted")
    if (box[2:] - box[:2] <= 0).any():
        raise AnnotationError(f"the box {_told(box)} (y1 x1 y2 x2) is empty")
    mask = None
    if whole is not None:
        mask = place.mask(whole, size)
    elif rings:
        mask = np.zeros((size, size), bool)
        for points in rings:
            mask |= filled(place.points(points), size)
    doubt = ""
    if thing.box is not None and thing.outlined and _apart(box, _bounds(rings, whole)):
        doubt = "its box and its outline share less than a tenth of what they take"
    if any(map(_crosses_itself, rings)):
        doubt = "the polygon crosses itself; what it encloses an odd number of times is taken"
    return Placed(place.points(box).astype(np.float32), mask, doubt)


def filled(points: np.ndarray, size: int) -> np.ndarray:
    """Returns which pixels have their middle within a polygon, (size, size), bool.

    An edge changes, in each row whose middle it passes, everything to its right; what was changed
    an odd number of times is inside.

    Args:
        points: Polygon (points, 2) of y and x.
        size: Side of the square.
    """
    changes = np.zeros((size, size + 1), np.int32)
    for (y1, x1), (y2, x2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        low, high = min(y1, y2), max(y1, y2)
        rows = np.arange(max(math.ceil(low - 0.5), 0), min(math.ceil(high - 0.5), size))
        if len(rows):
            xs = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
            changes[rows, np.clip(np.ceil(xs - 0.5), 0, size).astype(int)] += 1
    inside: np.ndarray = np.cumsum(changes[:, :-1], axis=1) % 2 == 1
    return inside


def _inside(points: np.ndarray, side: np.ndarray, what: str) -> np.ndarray:
    """Points (n, 2) cut at the picture's edge; those far outside are refused."""
    if not np.isfinite(points).all():
        raise AnnotationError(f"{what} has places that are no numbers")
    if (points < -SLACK).any() or (points > side + SLACK).any():
        low, high = points.min(axis=0), points.max(axis=0)
        raise AnnotationError(
            f"{what} reaches from {_told(low)} to {_told(high)} (y x), outside the picture of "
            f"{side[0]:.0f} x {side[1]:.0f} pixels"
        )
    cut: np.ndarray = np.clip(points, 0, side)
    return cut


def _check_ring(points: np.ndarray) -> None:
    """Refuses a polygon without an area."""
    if len(points) > MOST_POINTS:
        raise AnnotationError(f"a polygon of {len(points)} points; expected {MOST_POINTS} at most")
    if len(np.unique(points, axis=0)) < 3:
        raise AnnotationError("a polygon of fewer than 3 different points")
    if not (_turn(points[:1], points, np.roll(points, -1, axis=0)) != 0).any():
        raise AnnotationError("the polygon has no area")


def _crosses_itself(points: np.ndarray) -> bool:
    ends = np.roll(points, -1, axis=0)
    for index in range(len(points) - 2):  # an edge and the later ones that are no neighbours
        a, b = points[index], ends[index]
        c, d = points[index + 2 :], ends[index + 2 :]
        apart = _turn(a, b, c) * _turn(a, b, d) < 0
        if (apart & (_turn(c, d, a) * _turn(c, d, b) < 0)).any():
            return True
    return False


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """On which side of the line from a to b is c: the sign of twice the triangle's area."""
    ab, ac = b - a, c - a
    turned: np.ndarray = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    return turned


def _unrolled(runs: Runs, place: Placing) -> np.ndarray:
    """A mask (height, width), bool; the runs are known to fill it."""
    if (runs.height, runs.width) != (place.from_height, place.from_width):
        raise AnnotationError(
            f"a mask of {runs.height} x {runs.width} pixels on a picture of {place.from_height} x "
            f"{place.from_width}"
        )
    values = np.arange(len(runs.counts)) % 2 == 1
    return np.repeat(values, runs.counts).reshape(runs.width, runs.height).T


def _bounds(rings: Sequence[np.ndarray], whole: np.ndarray | None) -> np.ndarray:
    if whole is not None:
        if not whole.any():
            raise AnnotationError("an empty mask")
        ys, xs = np.nonzero(whole)
        return np.array([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1], float)
    if not rings:
        raise AnnotationError("neither a box nor an outline")
    points = np.concatenate(rings)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _apart(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two boxes (4,) share less than a tenth of what either takes."""
    shared = np.prod(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0))
    both = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared
    return bool(10 * shared < both)


def _told(places: np.ndarray) -> str:
    return "[" + ", ".join(f"{place:g}" for place in places) + "]"
