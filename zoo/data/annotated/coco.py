"""COCO JSON: pictures, categories and annotations in one document, with boxes x y width height.

Source: Lin et al. 2014, arXiv:1405.0312; cocodataset.org, "data format", and pycocotools' run
lengths. Documents stand beside the pictures, in `annotations`, or in the folders of the parts; the
pictures of `instances_train2017.json` may be in `train2017`. Ids may have holes. Regions of a crowd
(`iscrowd`) are left out and counted: they are no single thing. Run lengths are checked here and not
given to pycocotools, which writes outside its memory where they are wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.common import reading
from zoo.common.layouts import documents
from zoo.common.settings import shown
from zoo.data.annotated.paths import checked, find_picture, without_annotation
from zoo.data.annotated.things import (
    Annotated,
    AnnotationError,
    Reading,
    Runs,
    Thing,
    class_name,
    numbers,
    ring,
)

EXPECTED = "a COCO document: images, annotations and categories"
MOST_BYTES = 2**30  # of a document; that of COCO's own training pictures has half of it
MOST_DIGITS = 7  # characters of one run length


def read(root: Path) -> Reading:
    """Reads the COCO documents of a folder.

    Raises:
        ValueError: A document is no such one.
    """
    pictures: list[Annotated] = []
    labels: dict[str, None] = {}
    problems: list[str] = []
    for path in documents(root):
        _read_document(root, checked(root, path), pictures, labels, problems)
    problems += without_annotation(root, [picture.path for picture in pictures])
    return Reading(pictures, tuple(labels), problems)


def _read_document(
    root: Path,
    path: Path,
    pictures: list[Annotated],
    labels: dict[str, None],
    problems: list[str],
) -> None:
    document = reading.json_object(path, EXPECTED, most_bytes=MOST_BYTES)
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise reading.FileError(f"{path}: {key}: got no list; expected {EXPECTED}.")
    names = _names(path, document["categories"], problems)
    labels |= dict.fromkeys(names.values())
    images = _images(path, document["images"], problems)
    things: dict[Any, list[Thing]] = {number: [] for number in images}
    lost: dict[Any, int] = dict.fromkeys(images, 0)
    crowds = 0
    for index, row in enumerate(document["annotations"]):
        where, number = f"{path}: annotation {index}", None
        try:
            if not isinstance(row, dict):
                raise AnnotationError(f"got {type(row).__name__}; expected keys and values")
            where = f"{path}: annotation {shown(row.get('id', f'without id, number {index}'))}"
            number = _key(row.get("image_id"))
            if row.get("iscrowd") == 1:
                crowds += 1
                lost[number] = lost.get(number, 0) + 1
                continue
            if number not in things:
                raise AnnotationError(f"of an unknown picture, image_id {shown(number)}")
            kind = _key(row.get("category_id"))
            if kind not in names:
                raise AnnotationError(f"of an unknown class, category_id {shown(kind)}")
            things[number].append(_thing(row, where, names[kind]))
        except AnnotationError as wrong:
            problems.append(f"{where}: {wrong}.")
            lost[number] = lost.get(number, 0) + 1
    if crowds:
        problems.append(f"{path}: {crowds} regions of crowds (iscrowd), which are no single thing.")
    parts = [
        part
        for folder in (root, root / "images")
        for part in sorted(folder.iterdir() if folder.is_dir() else ())
        if part.is_dir() and part.name in path.stem.split("_")[1:]  # of instances_train2017
    ]
    for number, row in images.items():
        where = f"{path}: image {shown(number)}"
        try:
            picture = find_picture(root, row.get("file_name") or "", path.parent, parts=parts)
            side = None
            if row.get("height") and row.get("width"):
                height, width = numbers([row["height"], row["width"]], 2)
                side = float(height), float(width)
        except AnnotationError as wrong:
            problems.append(f"{where}: {wrong}.")
            continue
        pictures.append(Annotated(picture, tuple(things[number]), side, where, lost[number]))


def _names(path: Path, categories: list[Any], problems: list[str]) -> dict[Any, str]:
    """Names of the classes by id, in the order of the ids."""
    names: dict[Any, str] = {}
    for index, row in enumerate(categories):
        try:
            number = _key(row.get("id") if isinstance(row, dict) else None)
            name = class_name(row.get("name"))
            if number in names:
                raise AnnotationError(f"got the id {shown(number)} twice; expected each once")
        except AnnotationError as wrong:
            raise reading.FileError(f"{path}: category {index}: {wrong}.") from None
        if name in names.values():
            problems.append(
                f"{path}: category {index}: a second one is called {shown(name)}; they are one "
                "class."
            )
        names[number] = name
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _images(path: Path, rows: list[Any], problems: list[str]) -> dict[Any, dict[str, Any]]:
    images: dict[Any, dict[str, Any]] = {}
    for index, row in enumerate(rows):
        try:
            if not isinstance(row, dict):
                raise AnnotationError(f"got {type(row).__name__}; expected keys and values")
            number = _key(row.get("id"))
            if number in images:
                raise AnnotationError(f"id {shown(number)} stands there twice; the first is taken")
        except AnnotationError as wrong:
            problems.append(f"{path}: image number {index}: {wrong}.")
            continue
        images[number] = row
    return images


def _thing(row: dict[str, Any], where: str, label: str) -> Thing:
    box = None
    if row.get("bbox") is not None:
        x, y, width, height = map(float, numbers(row["bbox"], 4))
        box = np.array([y, x, y + height, x + width])
    outline = row.get("segmentation")
    rings: tuple[np.ndarray, ...] = ()
    runs = None
    if isinstance(outline, dict):
        runs = _runs(outline)
    elif isinstance(outline, list):
        rings = tuple(ring(points) for points in outline)
    elif outline is not None:
        raise AnnotationError(
            f"segmentation: got {type(outline).__name__}; expected polygons or run lengths"
        )
    return Thing(where, label, box, rings, runs)


def _runs(outline: dict[str, Any]) -> Runs:
    height, width = (int(value) for value in numbers(outline.get("size"), 2))
    counts = outline.get("counts")
    if isinstance(counts, str):
        counts = _decoded(counts)
    if not isinstance(counts, list) or any(type(n) is not int or n < 0 for n in counts):
        raise AnnotationError("segmentation: got run lengths that are none; expected whole numbers")
    if sum(counts) != height * width or not counts:
        raise AnnotationError(
            f"segmentation: got run lengths of {sum(counts)} pixels; expected {height} x {width}"
        )
    return Runs(height, width, counts)


def _decoded(text: str) -> list[int]:
    """Run lengths of pycocotools' text: 5 bits a character, from the third on as differences."""
    counts: list[int] = []
    place = 0
    while place < len(text):
        value = 0
        for digit in range(MOST_DIGITS + 1):
            bits = ord(text[place]) - 48 if place < len(text) else -1
            if not 0 <= bits < 64 or digit == MOST_DIGITS:
                raise AnnotationError(
                    "segmentation: got run lengths that break off; expected COCO's text"
                )
            value |= (bits & 31) << 5 * digit
            place += 1
            if not bits & 32:
                if bits & 16:
                    value -= 1 << 5 * (digit + 1)
                break
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def _key(value: Any) -> int | str:
    """An id, which may be a number or a text; some tools write whole numbers as 8.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise AnnotationError(f"got the id {shown(value)}; expected a whole number or a text")
    return value
