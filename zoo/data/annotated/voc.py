"""Pascal VOC XML: a file for each picture, an `object` for each thing.

Source: Everingham et al. 2010, The Pascal VOC challenge; the development kit's annotations. A box
is of whole pixels that count from 1, the last one inside: `xmin` 1 to `xmax` 10 is 0 to 10 here.
The pictures lie in `JPEGImages`, in `images` or beside the files. A document type is refused, so no
entity is ever expanded and no other file read. The things of the picture's parts, and marks such as
`difficult`, are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from zoo.common import reading
from zoo.common.layouts import NAMES, voc_files
from zoo.common.settings import shown
from zoo.data.annotated.names import named, within
from zoo.data.annotated.paths import checked, find_picture, without_annotation
from zoo.data.annotated.things import Annotated, AnnotationError, Reading, Thing, class_name

EXPECTED = "a VOC annotation: XML with an object for each thing"
SIDES = ("ymin", "xmin", "ymax", "xmax")


def read(root: Path) -> Reading:
    """Reads the VOC files of a folder; the classes are those of `classes.txt`, or all there are."""
    pictures, problems = [], []
    known = named([root / name for name in NAMES])
    for path in voc_files(root):
        try:
            tree = parsed(checked(root, path))
            picture = find_picture(root, tree.findtext("filename"), path.parent, stem=path.stem)
            things, lost = [], 0
            for number, element in enumerate(tree.findall("object"), start=1):
                where = f"{path}: object {number}"
                try:
                    things.append(_thing(element, where))
                except AnnotationError as wrong:
                    problems.append(f"{where}: {wrong}.")
                    lost += 1
            side = _side(tree.find("size"))
        except AnnotationError as wrong:
            problems.append(f"{path}: {wrong}.")
            continue
        except (OSError, reading.FileError) as error:
            problems.append(str(error))
            continue
        pictures.append(Annotated(picture, tuple(things), side, str(path), lost))
    problems += without_annotation(root, [picture.path for picture in pictures])
    return within(Reading(pictures, known, problems))


def parsed(path: Path) -> Element:
    """Returns the root of an XML file that declares no document type.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not such a file.
    """
    content = reading.text(path, EXPECTED)
    builder = TreeBuilder()
    parser = expat.ParserCreate("utf-8")

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, whose entities may unfold to anything")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    with reading.whole(path, EXPECTED):
        parser.Parse(content.encode(), True)
        return builder.close()


def _thing(element: Element, where: str) -> Thing:
    label, box = class_name(element.findtext("name")), element.find("bndbox")
    if box is None:
        raise AnnotationError("got no bndbox; expected one")
    y1, x1, y2, x2 = (_number(box, side) for side in SIDES)
    return Thing(where, label, np.array([y1 - 1, x1 - 1, y2, x2]))


def _side(element: Element | None) -> tuple[float, float] | None:
    if element is None:
        return None
    height, width = (_number(element, name) for name in ("height", "width"))
    return (height, width) if height and width else None


def _number(element: Element, name: str) -> float:
    text = (element.findtext(name) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise AnnotationError(f"{name}: got {shown(text)}; expected a finite number")
    return value
