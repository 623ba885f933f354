"""PNG masks: for each picture in `images` a file of the same name in `masks`, a class each pixel.

Grey levels, or a palette's indices as Pascal VOC has them, are numbers of classes; 0 is the
background and 255 counts for nothing. Where all masks of the folder hold 0 and 255 alone, 255 is
the foreground. Names of the classes come from `classes.txt`, the background first; without it,
classes are called by their numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.common.columns import IGNORED
from zoo.common.images import Placing, pixels, placing
from zoo.common.layouts import NAMES
from zoo.common.picture_files import read_image, read_mask
from zoo.data.annotated.names import named
from zoo.data.annotated.paths import checked, pictures
from zoo.data.annotated.things import AnnotationError
from zoo.data.feeds.pictures import each
from zoo.data.twins import fingerprint


class Masked(NamedTuple):
    """A picture with its mask.

    Attributes:
        path: The picture.
        image: Its pixels in colour, where they are kept.
        twin: Its `zoo.data.twins.fingerprint`.
        grey: Whether it has no colour.
        mask: What its mask holds in the square (size, size), uint8.
        values: All that its mask holds in its own size.
        place: Where it lies in the square.
    """

    path: Path
    image: np.ndarray | None
    twin: bytes
    grey: bool
    mask: np.ndarray
    values: frozenset[int]
    place: Placing


def read(
    root: Path, size: int, *, keep: bool
) -> tuple[list[Masked], np.ndarray, tuple[str, ...], list[str]]:
    """Reads the pictures and the masks of a folder.

    Args:
        root: The folder, with `images` and `masks`.
        size: Side of the square images in pixels.
        keep: Whether the pictures' pixels are kept.

    Returns:
        The pictures; their masks (n, size, size), uint8, what is outside of them 255; the names of
        the classes; and the problems.

    Raises:
        ValueError: The names of the classes are wrong, or no mask holds anything but 0.
    """
    problems: list[str] = []
    names = named(root / name for name in NAMES)
    files = list(pictures(root / "images", problems, root))
    found: list[Masked] = []
    for seen in each(files, lambda path: _look(root, path, size, keep)):
        if isinstance(seen, str):
            problems.append(seen)
        else:
            found.append(seen)
    known = {path.relative_to(root / "images").with_suffix(".png") for path in files}
    problems += [
        f"{path}: no picture of this name in {root / 'images'}."
        for path in sorted((root / "masks").rglob("*.png"))
        if path.relative_to(root / "masks") not in known
    ]
    every = frozenset[int]().union(*(one.values for one in found))
    if every == {0}:
        raise ValueError(
            f"folder:{root}: got {len(found)} masks that hold 0 alone, the background; expected "
            "the number of a class at each of its pixels, or 255 where the foreground is."
        )
    binary = IGNORED in every and every <= {0, IGNORED}
    if not names:
        most = max((value for value in every if value != IGNORED), default=0)
        numbers = tuple(map(str, range(1, max(most, 1) + 1)))
        names = ("background", *(("foreground",) if binary else numbers))
    sound, masks = [], []
    for one in found:
        if beyond := one.values - {*range(len(names)), IGNORED}:
            problems.append(
                f"{_mask_path(root, one.path)}: got the class {max(beyond)}; expected 0 to "
                f"{len(names) - 1}, or 255 for what counts for nothing."
            )
            continue
        sound.append(one)
        mask = np.full((size, size), IGNORED, np.uint8)
        inside = one.place.inside
        mask[inside] = one.mask[inside] > 0 if binary else one.mask[inside]
        masks.append(mask)
    return sound, np.array(masks, np.uint8).reshape(-1, size, size), names, problems


def _look(root: Path, path: Path, size: int, keep: bool) -> Masked | str:
    """Reads a picture and its mask; the line of a problem if there is one."""
    try:
        file = checked(root, _mask_path(root, path))
        if not file.is_file():
            return f"{path}: {file} is not there; expected its mask."
        image, mask = read_image(path), read_mask(file)
    except AnnotationError as wrong:
        return f"{wrong}."
    except (ValueError, OSError) as error:
        return str(error)
    if mask.shape != (image.height, image.width):
        return (
            f"{file}: got a mask of {mask.shape[0]} x {mask.shape[1]} pixels; expected "
            f"{image.height} x {image.width}, those of {path}."
        )
    colour = pixels(image, size=size, channels=3)
    grey = bool((colour == colour[..., :1]).all())
    place = placing(image.height, image.width, size)
    values = frozenset(np.flatnonzero(np.bincount(mask.ravel())).tolist())
    kept, seen = colour if keep else None, place.mask(mask, size)
    return Masked(path, kept, fingerprint(colour), grey, seen, values, place)


def _mask_path(root: Path, path: Path) -> Path:
    return root / "masks" / path.relative_to(root / "images").with_suffix(".png")
