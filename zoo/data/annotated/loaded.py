"""Makes a data set of a folder of annotated pictures.

The split is fixed by the sorted paths of the readable pictures, one `RandomState(0)` over all: a
tenth goes to validation and a tenth to test, at least one each. A picture becomes a square as
`zoo.data.images.fit` makes it; boxes, outlines and masks move with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.layouts import LAYOUTS
from zoo.common.picture_files import read_image
from zoo.data.annotated import mask_files
from zoo.data.annotated.things import Annotated, AnnotationError, Placed, Reading, placed
from zoo.data.dataset import DataSet, Split, stratify
from zoo.data.images import pixels, placing
from zoo.data.pictures import Pictures, each

MOST = 100  # things of a picture that are kept; COCO's own limit of an answer
FEWEST = 3  # pictures: one for each split
READERS = ("coco", "voc", "yolo", "labelme")


class _Seen(NamedTuple):
    """What was found in a picture: its pixels where they are kept, and its things."""

    path: Path
    image: np.ndarray | None
    grey: bool
    things: list[tuple[str, Placed]]
    problems: list[str]


def load(name: str, root: Path, layout: str, *, size: int, told: str, keep: bool) -> DataSet:
    """Reads a folder of annotated pictures.

    Args:
        name: `folder:PATH`.
        root: The folder.
        layout: A key of `LAYOUTS`.
        size: Side of the square images in pixels.
        told: What the source line says of the size.
        keep: Whether the pictures are held in memory; else they are read for every batch.

    Returns:
        `image` with `mask`; or `image`, `boxes`, `classes`, `instances` where every thing has an
        outline, and `count`, as `digit_scenes` has them.

    Raises:
        ValueError: Too few pictures can be read, or nothing is in them.
    """
    if layout == "masks":
        masked, masks, names, problems = mask_files.read(root, size, keep=keep)
        _check_count(root, len(masked), layout, problems)
        values = {"mask": masks}
        columns = {"mask": Column("mask", (size, size), names)}
        seen: Sequence[Any] = masked
        what = f"masks of {len(names)} classes"
    else:
        found = import_module(f"zoo.data.annotated.{layout}").read(root)
        seen, problems = _looked(found, size, keep)
        _check_count(root, len(seen), layout, problems)
        values, columns, more = _columns(seen, found.labels, size)
        problems += more
        what = f"{int(values['count'].sum())} things of {len(found.labels)} classes"
        if not values["count"].any():
            first = f" Left out: {len(problems)}, first {problems[0]}" if problems else ""
            raise ValueError(
                f"{name}: got no box that can be read in {len(seen)} pictures; expected at least "
                f"one, by {LAYOUTS[layout]}.{first}"
            )
    channels = 1 if all(one.grey for one in seen) else 3
    images: np.ndarray | Pictures
    if keep:
        images = np.stack([one.image for one in seen])[..., :channels]
    else:
        images = Pictures([one.path for one in seen], size=size, channels=channels)
    everything = Split({"image": images, **values})
    train, validation, test = stratify(everything, _counts)
    return DataSet(
        name,
        f"{root}: {LAYOUTS[layout]}, {len(seen)} pictures with {what}, {len(problems)} problems, "
        f"{told}",
        {"image": Column("image", images.shape[1:]), **columns},
        train,
        validation,
        test,
        mirror=False,
        problems=tuple(problems),
        digest=_digest(root, [one.path for one in seen], values),
    )


def _looked(found: Reading, size: int, keep: bool) -> tuple[list[_Seen], list[str]]:
    """Reads the pictures, sorted by path, each once."""
    problems = list(found.problems)
    files: dict[Path, Annotated] = {}
    for picture in found.pictures:
        place = picture.path.resolve()
        if place in files:
            problems.append(
                f"{picture.where}: the picture {picture.path} is annotated twice; "
                f"{files[place].where} is taken."
            )
        else:
            files[place] = picture
    ordered = sorted(files.values(), key=lambda picture: picture.path)
    seen: list[_Seen] = []
    for one in each(ordered, lambda picture: _look(picture, size, keep)):
        if isinstance(one, str):
            problems.append(one)
            continue
        problems += one.problems
        seen.append(one)
    return seen, problems


def _look(picture: Annotated, size: int, keep: bool) -> _Seen | str:
    """Reads a picture and places its things; the line of a problem if it cannot be read."""
    try:
        image = read_image(picture.path)
    except (ValueError, OSError) as error:
        return str(error)
    if picture.side is not None and picture.side != (image.height, image.width):
        height, width = picture.side
        return (
            f"{picture.where}: annotated at {height:g} x {width:g} pixels, and {picture.path} has "
            f"{image.height} x {image.width}."
        )
    place = placing(image.height, image.width, size)
    things, problems = [], []
    for thing in picture.things:
        try:
            things.append((thing.label, placed(thing, place, size)))
        except AnnotationError as wrong:
            problems.append(f"{thing.where}: {wrong}.")
    if len(things) > MOST:
        problems.append(f"{picture.where}: {len(things)} things; the first {MOST} are taken.")
    colour = pixels(image, size=size, channels=3)
    grey = bool((colour == colour[..., :1]).all())
    return _Seen(picture.path, colour if keep else None, grey, things[:MOST], problems)


def _columns(
    seen: Sequence[_Seen], labels: tuple[str, ...], size: int
) -> tuple[dict[str, np.ndarray], dict[str, Column], list[str]]:
    """The things as padded columns, and a line where outlines are known of some only."""
    num, most = len(seen), max(1, *(len(one.things) for one in seen))
    indices = {label: index for index, label in enumerate(labels)}
    boxes, classes = np.zeros((num, most, 4), np.float32), np.full((num, most), -1, np.int32)
    every = [thing for one in seen for _, thing in one.things]
    bare = sum(thing.mask is None for thing in every)
    outlined = bool(every) and not bare
    instances = np.zeros((num, size, size) if outlined else 0, np.uint8)
    for row, one in enumerate(seen):
        for column, (label, thing) in enumerate(one.things):
            boxes[row, column], classes[row, column] = thing.box, indices[label]
        if outlined:  # what is small lies on top
            areas = [-int(np.asarray(thing.mask).sum()) for _, thing in one.things]
            for column in np.argsort(areas, kind="stable"):
                instances[row][np.asarray(one.things[column][1].mask)] = column + 1
    values: dict[str, np.ndarray] = {"boxes": boxes, "classes": classes}
    columns = {
        "boxes": Column("boxes", (most, 4)),
        "classes": Column("classes", (most,), labels),
    }
    if outlined:
        values["instances"] = instances
        columns["instances"] = Column("instances", (size, size))
    values["count"] = np.array([len(one.things) for one in seen], np.int32)
    columns["count"] = Column("count")
    lines = []
    if bare and bare < len(every):
        lines.append(
            f"{bare} of {len(every)} things have a box alone, so that the outlines of the others "
            "are not read either."
        )
    return values, columns, lines


def _check_count(root: Path, num: int, layout: str, problems: Sequence[str]) -> None:
    if num < FEWEST:
        first = f" Left out: {len(problems)}, first {problems[0]}" if problems else ""
        raise ValueError(
            f"folder:{root}: got {num} annotated pictures that can be read, by {LAYOUTS[layout]}; "
            f"expected at least {FEWEST}.{first}"
        )


def _counts(num: int) -> tuple[int, int, int]:
    held = max(1, round(num / 10))
    return num - 2 * held, held, held


def _digest(root: Path, files: Sequence[Path], values: dict[str, np.ndarray]) -> str:
    """Of the names and sizes of the pictures, and of what is in them."""
    lines = [f"{path.relative_to(root)} {path.stat().st_size}\n" for path in files]
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape"))
    for array in values.values():
        digest.update(array.tobytes())
    return digest.hexdigest()
