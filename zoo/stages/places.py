"""Boxes as a COCO document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as rle

from zoo.common.answers import SIDES
from zoo.common.picture_files import read_image
from zoo.common.placed import Row


def coco(
    found: Mapping[str, Sequence[Row]],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Returns a COCO document of what was found in some pictures.

    Args:
        found: For each picture, by its path, rows of `label`, `probability`, a box in its own
            pixels, and perhaps `mask`, see `zoo.common.placed`.
        labels: Names of the classes, whose ids count from 1.

    Returns:
        `images`, `annotations` with `score`, and `categories`, as COCO's object detection has them:
        boxes are x, y, width, height; masks are run lengths. The id of a picture is the number that
        its file is called by, as COCO's are, or else its place, from 1.
    """
    ids = {label: number for number, label in enumerate(labels, start=1)}
    images: list[Row] = []
    annotations: list[Row] = []
    for number, (path, rows) in zip(_numbers(list(found)), found.items(), strict=True):
        width, height = read_image(path).size
        images.append({"id": number, "file_name": path, "width": width, "height": height})
        for row in rows:
            y1, x1, y2, x2 = (row[name] for name in SIDES)
            shape: Row = {"area": (x2 - x1) * (y2 - y1)}
            if "mask" in row:
                shape = {"segmentation": row["mask"], "area": float(rle.area(row["mask"]))}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[row["label"]],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    **shape,
                    "iscrowd": 0,
                    "score": row["probability"],
                }
            )
    categories = [{"id": number, "name": label} for label, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _numbers(paths: Sequence[str]) -> list[int]:
    """The ids of pictures."""
    stems = [Path(path).stem for path in paths]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdecimal()]
    return numbers if len(set(numbers)) == len(paths) else list(range(1, len(paths) + 1))
