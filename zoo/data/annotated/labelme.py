"""Labelme JSON: a file for each picture, with shapes drawn by hand.

Source: Wada, github.com/wkentaro/labelme, its own format. Polygons and rectangles are read, a
rectangle as a box alone; polygons of one group are one thing. Points, lines and circles have no
place here and are named. The picture is the file that is named, not the copy within
the document.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.common import reading
from zoo.common.layouts import NAMES, labelme_files
from zoo.common.settings import shown
from zoo.data.annotated.names import named, within
from zoo.data.annotated.paths import checked, find_picture, without_annotation
from zoo.data.annotated.things import (
    Annotated,
    AnnotationError,
    Reading,
    Thing,
    class_name,
    numbers,
    ring,
)

EXPECTED = "a Labelme document: shapes and imagePath"


def read(root: Path) -> Reading:
    """Reads the Labelme files of a folder; the classes are as `voc.read` says."""
    pictures, problems = [], []
    known = named([root / name for name in NAMES])
    for path in labelme_files(root):
        try:
            document = reading.json_object(checked(root, path), EXPECTED)
            shapes = document.get("shapes")
            if not isinstance(shapes, list):
                raise AnnotationError(f"shapes: got {type(shapes).__name__}; expected a list")
            picture = find_picture(root, document.get("imagePath"), path.parent, stem=path.stem)
            side = None
            if document.get("imageHeight") and document.get("imageWidth"):
                height, width = numbers([document["imageHeight"], document["imageWidth"]], 2)
                side = float(height), float(width)
        except AnnotationError as wrong:
            problems.append(f"{path}: {wrong}.")
            continue
        except (OSError, reading.FileError) as error:
            problems.append(str(error))
            continue
        before = len(problems)
        things = tuple(_things(path, shapes, problems))
        lost = len(problems) - before
        pictures.append(Annotated(picture, things, side, str(path), lost))
    problems += without_annotation(root, [picture.path for picture in pictures])
    return within(Reading(pictures, known, problems))


def _things(path: Path, shapes: list[Any], problems: list[str]) -> list[Thing]:
    """The things of a picture: a shape each, or a group of shapes."""
    things: dict[Any, Thing] = {}
    for number, shape in enumerate(shapes):
        where = f"{path}: shape {number}"
        try:
            if not isinstance(shape, dict):
                raise AnnotationError(f"got {type(shape).__name__}; expected keys and values")
            label, group = class_name(shape.get("label")), shape.get("group_id")
            if isinstance(group, (dict, list)):
                raise AnnotationError("group_id: expected a number or null")
            points = _points(shape)
        except AnnotationError as wrong:
            problems.append(f"{where}: {wrong}.")
            continue
        if len(points) == 2:  # a rectangle, from any corner to the opposite one
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            things[number] = Thing(where, label, box)
            continue
        key = number if group is None else (label, group)
        earlier = things.get(key, Thing(where, label))
        things[key] = earlier._replace(rings=(*earlier.rings, points))
    return list(things.values())


def _points(shape: dict[str, Any]) -> np.ndarray:
    """A polygon's points (points, 2) of y and x, or two corners of a rectangle."""
    kind, points = shape.get("shape_type", "polygon"), shape.get("points")
    if kind not in ("polygon", "rectangle"):
        raise AnnotationError(f"shape_type: got {shown(kind)}; expected polygon or rectangle")
    if not isinstance(points, list):
        raise AnnotationError(f"points: got {type(points).__name__}; expected a list of x and y")
    flat = [float(value) for point in points for value in numbers(point, 2)]
    if kind == "polygon":
        return ring(flat)
    return numbers(flat, 4).reshape(2, 2)[:, ::-1]
