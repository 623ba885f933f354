"""Answers in a picture's own pixels, with masks as COCO's run lengths.

`answers` says where things are in the picture as a model sees it; here it is said of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.common.answers import SIDES
from zoo.common.images import Placing, placing

if TYPE_CHECKING:
    from zoo.common.answers import Outputs

Row = dict[str, Any]
INSIDE = 0.5  # probability from which on a pixel is within a mask


def placed(
    task: str,
    found: Sequence[list[Row]],
    outputs: Outputs,
    sizes: Sequence[tuple[int, int]],
    side: int | None,
) -> list[list[Row]]:
    """Returns answers in the pixels of the pictures that were asked about.

    Args:
        task: Kind of learning; of one that does not say where things are, nothing changes.
        found: Rows of each picture, see `zoo.common.answers`.
        outputs: What they were made of, (n, ...).
        sizes: Width and height of each picture.
        side: Of the square that the model sees, see `zoo.common.images.fit`; `None` where it reads
            no pictures.

    Returns:
        The rows; `y1`, `x1`, `y2`, `x2` are cut at the picture's edge, points are not. What is
        found with a mask, and each class of a segmentation, has `mask`: `size`, height and width,
        and `counts`, run lengths as `pycocotools.mask.decode` reads them. `a` and `b` of an ellipse
        are pixels.
    """
    if task not in _FORMS or side is None:
        return list(found)
    move = _FORMS[task]
    return [
        move(rows, _one(outputs, index), placing(height, width, side))
        for index, (rows, (width, height)) in enumerate(zip(found, sizes, strict=True))
    ]


def encoded(mask: Any) -> dict[str, Any]:
    """Returns a mask (height, width), bool, as pycocotools' run lengths."""
    from pycocotools import mask as rle

    found: dict[str, Any] = rle.encode(np.asfortranarray(mask, np.uint8))
    return found


def pasted(mask: np.ndarray, box: np.ndarray, side: tuple[int, ...]) -> np.ndarray:
    """Returns which pixels of a picture are within a mask, (height, width), bool.

    A pixel takes the bilinear sample of the mask at its middle.

    Args:
        mask: Probabilities (h, w) of points spread evenly over the box.
        box: y1 x1 y2 x2 in pixels; it may reach over the edge.
        side: Height and width of the picture.
    """
    from scipy.ndimage import map_coordinates

    whole = np.zeros(side, bool)
    low = np.maximum(np.floor(box[:2]).astype(int), 0)
    high = np.minimum(np.ceil(box[2:]).astype(int), side)
    if (high <= low).any():
        return whole
    spans = np.maximum(box[2:] - box[:2], 1e-6)
    rows, columns = (
        (np.arange(low[axis], high[axis]) + 0.5 - box[axis]) / spans[axis] * mask.shape[axis] - 0.5
        for axis in (0, 1)
    )
    grid = np.meshgrid(rows, columns, indexing="ij")
    found = map_coordinates(mask, grid, order=1, mode="nearest") >= INSIDE
    whole[low[0] : high[0], low[1] : high[1]] = found
    return whole


def _one(outputs: Outputs, index: int) -> Any:
    if isinstance(outputs, Mapping):
        return {name: values[index] for name, values in outputs.items()}
    return outputs[index]


def _told(mask: np.ndarray) -> Row:
    runs = encoded(mask)
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def _clipped(row: Row, box: np.ndarray, place: Placing) -> Row:
    ends = place.from_height, place.from_width
    return row | {
        name: min(max(float(value), 0.0), float(ends[axis % 2]))
        for axis, (name, value) in enumerate(zip(SIDES, box, strict=True))
    }


def _things(rows: list[Row], outputs: Any, place: Placing) -> list[Row]:
    boxes = [place.back(np.array([row[name] for name in SIDES])) for row in rows]
    moved = [_clipped(row, box, place) for row, box in zip(rows, boxes, strict=True)]
    if "masks" not in outputs:
        return moved
    shares, sides = outputs["masks"][outputs["scores"] > 0], (place.from_height, place.from_width)
    return [
        row | {"mask": _told(pasted(share, box, sides))}
        for row, share, box in zip(moved, shares, boxes, strict=True)
    ]


def _box(rows: list[Row], outputs: Any, place: Placing) -> list[Row]:
    side = place.side
    return [
        _clipped(row, place.back(np.array([row[name] for name in SIDES]) * side), place)
        for row in rows
    ]


def _points(rows: list[Row], outputs: Any, place: Placing) -> list[Row]:
    moved = place.back(np.array([[row["y"], row["x"]] for row in rows]) * place.side)
    return [row | {"y": float(y), "x": float(x)} for row, (y, x) in zip(rows, moved, strict=True)]


def _classes(rows: list[Row], outputs: Any, place: Placing) -> list[Row]:
    """The mask of each class; `rows` are in the order of their shares."""
    seen = np.argmax(outputs, axis=-1)  # (side, side)
    kinds = np.unique(seen, return_counts=True)
    shares = dict(zip(kinds[0].tolist(), kinds[1].tolist(), strict=True))
    order = sorted(shares, key=lambda kind: (-shares[kind], -kind))
    whole = place.mask_back(seen)
    return [row | {"mask": _told(whole == kind)} for row, kind in zip(rows, order, strict=True)]


def _ellipse(rows: list[Row], outputs: Any, place: Placing) -> list[Row]:
    """Stretched back: axes and angle are those of S M S, of the ellipse's matrix M."""
    moved = []
    for row in rows:
        y, x = place.back(np.array([row["y"], row["x"]]) * place.side)
        turn = np.radians(row["degrees"])
        turned = np.array([[np.sin(turn), np.cos(turn)], [np.cos(turn), -np.sin(turn)]])  # y, x
        axes = np.array([row["a"], row["b"]]) * place.side
        scale = np.diag([place.from_height / place.height, place.from_width / place.width])
        squares, ends = np.linalg.eigh(scale @ turned @ np.diag(axes**2) @ turned.T @ scale)
        b, a = np.sqrt(squares)
        longer = ends[:, 1]
        degrees = float(np.degrees(np.arctan2(longer[0], longer[1])) % 180)
        told = {"y": float(y), "x": float(x), "a": float(a), "b": float(b), "degrees": degrees}
        moved.append(row | told)
    return moved


_FORMS: dict[str, Any] = {
    "segment": _classes,
    "localise": _box,
    "detect": _things,
    "dense_caption": _things,
    "pose": _points,
    "ellipse": _ellipse,
}
