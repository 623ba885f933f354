"""Boxes in a picture's own pixels, and as a COCO document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.common.answers import SIDES
from zoo.common.picture_files import read_image
from zoo.data.preprocessing import Preprocessing

Row = dict[str, Any]


def in_picture(rows: Sequence[Row], path: str | Path, known: Preprocessing) -> list[Row]:
    """Returns rows with boxes in a picture's own pixels.

    Args:
        rows: `y1`, `x1`, `y2`, `x2` in pixels of the picture as the model sees it, among others.
        path: The picture.
        known: How the model sees it.
    """
    width, height = read_image(path).size
    side = known.size or 0
    spare = side - height, side - width
    if all(0 <= gap <= known.pad for gap in spare):  # it has a frame, see `zoo.data.images.fit`
        frames, factors = (spare[0] // 2, spare[1] // 2), (1.0, 1.0)
    else:
        frames, factors = (0, 0), (height / side, width / side)
    ends = height, width
    found = []
    for row in rows:
        moved = {
            name: min(max((row[name] - frames[axis % 2]) * factors[axis % 2], 0.0), ends[axis % 2])
            for axis, name in enumerate(SIDES)
        }
        found.append({**row, **moved})
    return found


def coco(found: Mapping[str, Sequence[Row]], labels: Sequence[str]) -> dict[str, Any]:
    """Returns a COCO document of what was found in some pictures.

    Args:
        found: For each picture, by its path, rows of `label`, `probability` and a box in its own
            pixels.
        labels: Names of the classes, whose ids count from 1.

    Returns:
        `images`, `annotations` with `score`, and `categories`, as COCO's object detection has them:
        boxes are x, y, width, height.
    """
    ids = {label: number for number, label in enumerate(labels, start=1)}
    images: list[Row] = []
    annotations: list[Row] = []
    for picture, (path, rows) in enumerate(found.items(), start=1):
        width, height = read_image(path).size
        images.append({"id": picture, "file_name": path, "width": width, "height": height})
        for row in rows:
            y1, x1, y2, x2 = (row[name] for name in SIDES)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture,
                    "category_id": ids[row["label"]],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "score": row["probability"],
                }
            )
    categories = [{"id": number, "name": label} for label, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
