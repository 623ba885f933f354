"""YOLO text: a file for each picture, a line for each thing, in shares of the picture's sides.

Source: Redmon et al. 2016, arXiv:1506.02640, as Darknet and Ultralytics write it: `class x y width
height` of a box's middle and sides, or `class x1 y1 x2 y2 x3 y3 ...` of a polygon. The files lie in
`labels` as the pictures lie in `images`, sub-folders included, of the folder or of each of its
parts; or beside the pictures. The names of the classes come from `classes.txt` or from `names` in
`data.yaml`. A picture without a file has no things in it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.common import reading
from zoo.common.layouts import NAMES, yolo_parts
from zoo.common.settings import shown
from zoo.data.annotated.names import named
from zoo.data.annotated.paths import checked, pictures
from zoo.data.annotated.things import Annotated, AnnotationError, Reading, Thing, ring
from zoo.data.texts.text_files import text_lines

EXPECTED = "YOLO text: a class and its numbers in each line"


def read(root: Path) -> Reading:
    """Reads the YOLO files of a folder.

    Raises:
        ValueError: No file names the classes.
    """
    files = [root / name for name in NAMES]
    labels = named(files)
    if not labels:
        raise ValueError(
            f"folder:{root}: got no names of the classes; expected {NAMES[0]}, a name a line, or "
            f"`names` in {NAMES[1]}."
        )
    parts = yolo_parts(root)
    told = [
        f"{path}: has images and no labels; it is left out."
        for path in sorted(root.iterdir() if parts else ())  # without parts all of it is read
        if path not in parts and (path / "images").is_dir()
    ]
    whole = Reading([], labels, told)
    for part in parts or [root]:
        found = _read_part(root, part, labels, set(files))
        whole = Reading(whole.pictures + found.pictures, labels, whole.problems + found.problems)
    return whole


def _read_part(root: Path, part: Path, labels: tuple[str, ...], known: set[Path]) -> Reading:
    apart = (part / "labels").is_dir()
    images = part / "images" if apart and (part / "images").is_dir() else part
    texts = part / "labels" if apart else part
    problems: list[str] = []
    found = []
    for picture in pictures(images, problems, root):
        path = texts / picture.relative_to(images).with_suffix(".txt")
        known.add(path)
        before = len(problems)
        try:
            things = _read_file(root, path, labels, problems) if path.exists() else []
        except AnnotationError as wrong:
            problems.append(f"{wrong}.")
            continue
        except (OSError, reading.FileError) as error:
            problems.append(str(error))
            continue
        lost = len(problems) - before
        found.append(Annotated(picture, tuple(things), None, str(path), lost))
    problems += [
        f"{path}: no picture of this name in {images}."
        for path in sorted(texts.rglob("*.txt") if apart else ())
        if path not in known
    ]
    return Reading(found, labels, problems)


def _read_file(root: Path, path: Path, labels: tuple[str, ...], problems: list[str]) -> list[Thing]:
    things = []
    lines = text_lines(reading.text(checked(root, path), EXPECTED))
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        try:
            if words := line.split():
                things.append(_thing(words, where, labels))
        except AnnotationError as wrong:
            problems.append(f"{where}: {wrong}.")
    return things


def _thing(words: list[str], where: str, labels: tuple[str, ...]) -> Thing:
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise AnnotationError(
            f"got {len(words)} numbers; expected a class with 4 of a box, or with x and y of at "
            "least 3 points"
        )
    try:
        kind, *places = (float(word) for word in words)
    except ValueError:
        raise AnnotationError(f"got {shown(' '.join(words))}; expected numbers") from None
    if kind not in range(len(labels)):
        raise AnnotationError(f"got the class {shown(words[0])}; expected 0 to {len(labels) - 1}")
    if not np.isfinite(places).all() or min(places) < 0 or max(places) > 1:
        raise AnnotationError(
            f"got {shown(' '.join(words[1:]))}; expected numbers of 0 to 1, shares of the "
            "picture's sides"
        )
    label = labels[int(kind)]
    if len(places) > 4:
        return Thing(where, label, rings=(ring(places),), shares=True)
    x, y, width, height = places
    box = np.array([y - height / 2, x - width / 2, y + height / 2, x + width / 2])
    return Thing(where, label, box, shares=True)
