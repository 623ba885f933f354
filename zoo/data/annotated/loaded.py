"""Makes a data set of a folder of annotated pictures.

The split is fixed by the sorted paths of the readable pictures, one `RandomState(0)` over all: a
tenth goes to validation and a tenth to test, at least one each. Where the pictures lie in parts
that their publisher has named (`PARTS`), those are the split; where there is no test part, the
validation part is, and a tenth of training takes its place. A picture becomes a square as
`zoo.common.images.fit` makes it; boxes, outlines and masks move with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.images import pixels, placing
from zoo.common.layouts import LAYOUTS
from zoo.common.picture_files import read_image
from zoo.data.annotated import mask_files
from zoo.data.annotated.things import Annotated, AnnotationError, Reading, placed
from zoo.data.dataset import DataSet, Split, stratify
from zoo.data.feeds.pictures import Pictures, each
from zoo.data.twins import fingerprint, marked, taken

MOST = 100  # things of a picture that are kept; COCO's own limit of an answer
FEWEST = 3  # pictures: one for each split
PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
PARTS |= {"validation": "validation", "test": "test"}
READERS = ("coco", "voc", "yolo", "labelme")


class _Seen(NamedTuple):
    """What was found in a picture.

    Attributes:
        path: Its file.
        image: Its pixels in colour, where they are kept.
        twin: Its `fingerprint`.
        grey: Whether it has no colour.
        things: Name of the class and box of each thing.
        owners: Which thing is seen at a pixel, from 1 (size, size), uint8; `None` without outlines.
        bare: Number of things of which only the box is known.
        problems: What was left out.
    """

    path: Path
    image: np.ndarray | None
    twin: bytes
    grey: bool
    things: list[tuple[str, np.ndarray]]
    owners: np.ndarray | None
    bare: int
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
    paths = [one.path for one in seen]
    if keep:
        images = np.stack([one.image for one in seen])[..., :channels]
    else:
        images = Pictures(paths, size=size, channels=channels)
    everything = marked({"image": images, **values}, paths, [one.twin for one in seen])
    parts = [_part(root, path) for path in paths]
    published = all(parts) and {"train"} < set(parts)
    if published:
        told += ", split as its parts are"
    splits = _published(everything, parts) if published else stratify(everything, _counts)
    (train, validation, test), twins = taken(splits)
    return DataSet(
        name,
        f"{root}: {LAYOUTS[layout]}, {len(seen)} pictures with {what}, {len(problems)} problems, "
        f"{told}",
        {"image": Column("image", images.shape[1:]), **columns},
        train,
        validation,
        test,
        mirror=False,
        problems=(*problems, *twins),
        digest=_digest(root, paths, values),
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
    things: list[tuple[str, np.ndarray]] = []
    masks, problems, places = [], [], []
    for thing in picture.things:
        try:
            found = placed(thing, place, size)
        except AnnotationError as wrong:
            problems.append(f"{thing.where}: {wrong}.")
            continue
        if len(things) == MOST:
            problems.append(f"{thing.where}: beyond the {MOST} things that a picture may have.")
            continue
        if any(thing.label == label and (found.box == box).all() for label, box in things):
            problems.append(f"{thing.where}: the same class and box stand there twice.")
            continue
        if found.doubt:
            problems.append(f"{thing.where}: {found.doubt}.")
        things.append((thing.label, found.box))
        masks.append(found.mask)
        places.append(thing.where)
    if (picture.things or picture.lost) and not things:
        first = f", first {problems[0]}" if problems else "."
        return (
            f"{picture.path}: nothing of what is annotated can be read{first} The picture is left "
            "out, as it is not one of nothing."
        )
    owners = _owners([mask for mask in masks if mask is not None], size)
    bare = sum(mask is None for mask in masks)
    if not bare:
        seen = set(np.unique(owners))
        problems += [
            f"{where}: no pixel of it is seen at {size} x {size} pixels: it is covered, or too "
            "small. Its box is kept."
            for index, where in enumerate(places, start=1)
            if index not in seen
        ]
    colour = pixels(image, size=size, channels=3)
    grey = bool((colour == colour[..., :1]).all())
    kept = colour if keep else None
    twin = fingerprint(colour)
    return _Seen(picture.path, kept, twin, grey, things, None if bare else owners, bare, problems)


def _owners(masks: list[np.ndarray], size: int) -> np.ndarray:
    """Which mask is seen at a pixel, from 1 (size, size), uint8; what is small lies on top."""
    owners = np.zeros((size, size), np.uint8)
    for index in np.argsort([-int(mask.sum()) for mask in masks], kind="stable"):
        owners[masks[index]] = index + 1
    return owners


def _columns(
    seen: Sequence[_Seen], labels: tuple[str, ...], size: int
) -> tuple[dict[str, np.ndarray], dict[str, Column], list[str]]:
    """The things as padded columns, and a line where outlines are known of some only."""
    num, most = len(seen), max(1, *(len(one.things) for one in seen))
    indices = {label: index for index, label in enumerate(labels)}
    boxes, classes = np.zeros((num, most, 4), np.float32), np.full((num, most), -1, np.int32)
    every, bare = sum(len(one.things) for one in seen), sum(one.bare for one in seen)
    for row, one in enumerate(seen):
        for column, (label, box) in enumerate(one.things):
            boxes[row, column], classes[row, column] = box, indices[label]
    values: dict[str, np.ndarray] = {"boxes": boxes, "classes": classes}
    columns = {
        "boxes": Column("boxes", (most, 4)),
        "classes": Column("classes", (most,), labels),
    }
    if every and not bare:
        values["instances"] = np.stack([np.asarray(one.owners) for one in seen])
        columns["instances"] = Column("instances", (size, size))
    values["count"] = np.array([len(one.things) for one in seen], np.int32)
    columns["count"] = Column("count")
    lines = []
    if 0 < bare < every:
        lines.append(
            f"{bare} of {every} things have a box alone, so that the outlines of the others "
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


def _part(root: Path, path: Path) -> str:
    """The split that a picture's folder is named after, e.g. `train2017`; empty for none."""
    names = (folder.rstrip("0123456789").lower() for folder in path.relative_to(root).parts[:-1])
    return next((PARTS[name] for name in names if name in PARTS), "")


def _published(everything: Split, parts: Sequence[str]) -> tuple[Split, Split, Split]:
    """The splits that the parts name."""
    own = {name: np.flatnonzero(np.array(parts) == name) for name in PARTS.values()}
    if not len(own["test"]):
        own["test"], own["validation"] = own["validation"], own["test"]
    if not len(own["validation"]):
        mixed = np.random.RandomState(0).permutation(own["train"])
        held = max(1, round(len(mixed) / 10))
        own["validation"], own["train"] = np.sort(mixed[:held]), np.sort(mixed[held:])
    return tuple(everything[own[name]] for name in ("train", "validation", "test"))  # type: ignore[return-value]


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
