"""Boxes in a picture's own pixels, and as a COCO document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.common.answers import SIDES
from zoo.common.boxes import Row
from zoo.common.picture_files import read_image
from zoo.metrics.detection import encoded
from zoo.tasks.places.detections import pasted


class Mask(NamedTuple):
    """The mask of a box.

    Attributes:
        shares: Probabilities of points spread evenly over the box, (h, w).
        box: y1 x1 y2 x2 in the picture's own pixels; it may reach over the edge.
    """

    shares: np.ndarray
    box: np.ndarray


def coco(
    found: Mapping[str, Sequence[Row]],
    labels: Sequence[str],
    masks: Mapping[str, Sequence[Mask]] | None = None,
) -> dict[str, Any]:
    """Returns a COCO document of what was found in some pictures.

    Args:
        found: For each picture, by its path, rows of `label`, `probability` and a box in its own
            pixels.
        labels: Names of the classes, whose ids count from 1.
        masks: For each picture, by its path, the mask of each row.

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
        for index, row in enumerate(rows):
            y1, x1, y2, x2 = (row[name] for name in SIDES)
            shape: Row = {"area": (x2 - x1) * (y2 - y1)}
            if masks is not None:
                mask = pasted(*masks[path][index], (height, width))
                runs = encoded(mask)
                counts = runs["counts"].decode()
                shape = {"segmentation": {**runs, "counts": counts}, "area": float(mask.sum())}
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
