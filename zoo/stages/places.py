"""What was found in pictures as a COCO document."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as rle

from zoo.common.answers import SIDES
from zoo.common.picture_files import read_image
from zoo.common.placed import Row

WRITTEN = ("detect", "segment", "localise", "dense_caption", "pose", "caption")
NAMED = ("detect", "segment", "localise")  # whose rows have the name of a class
REGION = "region"  # category of what has a phrase, or points, and no class
LOG = logging.getLogger("zoo")


def coco(
    found: Mapping[str, Sequence[Row]],
    labels: Sequence[str],
    *,
    task: str,
) -> dict[str, Any]:
    """Returns a COCO document of what was found in some pictures.

    Args:
        found: For each picture, by its path, the rows of one of `WRITTEN` in the picture's own
            pixels, see `zoo.common.placed`.
        labels: Names of the classes, whose ids count from 1.
        task: The one of `WRITTEN`.

    Returns:
        `images`, `annotations` and, but for sentences, `categories`, as COCO has them. Of things:
        `bbox`, x, y, width, height, `score`, `segmentation` as run lengths where there are masks;
        a class of a segmentation is one thing, the first, its background, none, and has the score
        1, as a pose has. Of poses `keypoints`, x, y, 2 of each; of what is described, `caption`; of
        several sentences the first. The id of a picture is the number that its file's name ends in,
        as COCO's are, or else its place, from 1, which is then logged. `file_name` is as seen from
        the folder that all pictures are in.
    """
    background = labels[0] if task == "segment" and labels else None
    points = next((rows for rows in found.values() if rows and "point" in rows[0]), [])
    folder = os.path.commonpath([Path(path).resolve().parent for path in found]) if found else ""
    ids = {REGION: 1}
    if task in NAMED:
        ids = {label: number for number, label in enumerate(labels, start=1)}
    images: list[Row] = []
    annotations: list[Row] = []
    for number, (path, rows) in zip(_numbers(list(found)), found.items(), strict=True):
        width, height = read_image(path).size
        name = Path(os.path.relpath(Path(path).resolve(), folder)).as_posix()
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        if rows and "point" in rows[0]:
            told = [_posed(rows)]
        elif task == "caption":
            told = [{"caption": row["caption"]} for row in rows[:1]]
        else:
            kept = (row for row in rows if background is None or row.get("label") != background)
            told = [_thing(row, ids) for row in kept]
        for one in told:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **one})
    named = {"keypoints": [row["point"] for row in points]} if points else {}
    categories = [
        {"id": number, "name": label, **named}
        for label, number in ids.items()
        if background is None or label != background
    ]
    if task == "caption":  # COCO's captions have no classes
        return {"images": images, "annotations": annotations}
    return {"images": images, "annotations": annotations, "categories": categories}


def _thing(row: Row, ids: Mapping[str, int]) -> Row:
    told: Row = {}
    if "phrase" in row:
        told["caption"] = row["phrase"]
    told["category_id"] = ids[row.get("label", REGION)]
    if "mask" in row:
        told["segmentation"], told["area"] = row["mask"], float(rle.area(row["mask"]))
        told["bbox"] = rle.toBbox(row["mask"]).tolist()
    if SIDES[0] in row:
        y1, x1, y2, x2 = (row[name] for name in SIDES)
        told["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        told.setdefault("area", (x2 - x1) * (y2 - y1))
    told["iscrowd"] = 0
    told["score"] = row.get("probability", 1.0)
    return told


def _posed(points: Sequence[Row]) -> Row:
    across, down = [row["x"] for row in points], [row["y"] for row in points]
    box = [min(across), min(down), max(across) - min(across), max(down) - min(down)]
    return {
        "category_id": 1,
        "keypoints": [value for row in points for value in (row["x"], row["y"], 2)],
        "num_keypoints": len(points),
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "score": 1.0,
    }


def _numbers(paths: Sequence[str]) -> list[int]:
    """The ids of pictures."""
    ends = [re.search(r"[0-9]{1,15}$", Path(path).stem) for path in paths]
    numbers = [int(end[0]) for end in ends if end]
    if len(set(numbers)) == len(paths):
        return numbers
    why = "names end in no number" if len(numbers) < len(paths) else "names end in the same number"
    LOG.warning("the ids of the pictures are their places, from 1: some %s", why)
    return list(range(1, len(paths) + 1))
