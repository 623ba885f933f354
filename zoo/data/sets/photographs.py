"""Photographs that arrive with scikit-image, scikit-learn and matplotlib, as tiles.

Source and licence: of scikit-image astronaut, hubble_deep_field and rocket (NASA, SpaceX),
camera, chelsea, coffee, brick (CC0), coins, ihc, moon (no known copyright) and motorcycle_left
(Middlebury 2014), by its documentation; of matplotlib grace_hopper (US Navy, public domain); of
scikit-learn china and flower (CC BY 2.0, danielbuechele and vultilion, by its README).
Luminance is that of ITU-R 601, from 0 to 255, as Pillow makes it. In colour there are ten of them.

Photographs are split, not tiles: whoever learns from a tile of one is never asked about another of
the same. A tile to learn from is turned by quarter turns, one after another; each photograph is
learnt from at half its size too, where it is sharper. Every second four of them are negatives: few
photographs are white anywhere, and what never saw white makes it grey. Tiles to report on are as
they are, and cover their photograph. In colour nothing is turned or made negative: what is learnt
of these is what pictures show.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split, stratify
from zoo.data.sets.carried import carried
from zoo.datasets import DATASETS

SIDES = (96, 288)  # smallest and largest side of a tile, in pixels
MULTIPLE = 12  # 2, 3 and 4 divide a side
USUAL, USUAL_COLOUR = 144, 256
STEP_COLOUR = 4  # divides a side of a tile in colour
BORDER = 16  # at the edges of a tile, of which a task may look at the middle alone
PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


class Photograph(NamedTuple):
    """One photograph.

    Attributes:
        package: That carries it, as it is imported.
        file: Path below the package's folder.
        shrunk: Times that it is made smaller, for one that is soft at its full size.
    """

    package: str
    file: str
    shrunk: int = 1


def _skimage(file: str, shrunk: int = 1) -> Photograph:
    return Photograph("skimage", f"data/{file}", shrunk)


PHOTOGRAPHS = {
    "train": {
        "chelsea": _skimage("chelsea.png"),
        "coffee": _skimage("coffee.png"),
        "motorcycle": _skimage("motorcycle_left.png"),
        "rocket": _skimage("rocket.jpg"),
        "brick": _skimage("brick.png"),
        "ihc": _skimage("ihc.png"),
        "moon": _skimage("moon.png"),
        "hubble": _skimage("hubble_deep_field.jpg", 2),
        "flower": Photograph("sklearn", "datasets/images/flower.jpg"),
    },
    "validation": {
        "camera": _skimage("camera.png"),
        "grace_hopper": Photograph("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    },
    "test": {
        "astronaut": _skimage("astronaut.png"),
        "china": Photograph("sklearn", "datasets/images/china.jpg"),
        "coins": _skimage("coins.png"),
    },
}
GREY = ("camera", "brick", "moon", "coins")
NAMES = tuple(name for split in PHOTOGRAPHS.values() for name in split)


def load(*, size: int | None = None) -> DataSet:
    """Loads the tiles; of 144 pixels 1,700 to learn from, 55 to choose by, 61 to report on.

    Columns: `image` (size, size, 1), the luminance; `label`, which photograph it is of.

    Args:
        size: Side of a tile in pixels, a multiple of 12 from 96 to 288; `None` for 144.

    Raises:
        ValueError: The size is another one.
        ModuleNotFoundError: A package is not installed.
        FileNotFoundError: This version of a package does not carry a photograph.
    """
    size = USUAL if size is None else size
    _check_size(size, MULTIPLE, USUAL)
    return _tiled("photographs", size, NAMES, channels=1)


def load_colour(*, size: int | None = None) -> DataSet:
    """Loads tiles in colour; of 256 pixels COUNTS.

    Columns: `image` (size, size, 3); `label`, which photograph it is of.

    Args:
        size: Side of a tile in pixels, a multiple of 4 from 96 to 288; `None` for 256.

    Raises:
        ValueError: The size is another one.
        ModuleNotFoundError: A package is not installed.
        FileNotFoundError: This version of a package does not carry a photograph.
    """
    size = USUAL_COLOUR if size is None else size
    _check_size(size, STEP_COLOUR, USUAL_COLOUR)
    names = tuple(name for name in NAMES if name not in GREY)
    return _tiled("colour_photographs", size, names, channels=3)


def _check_size(size: int, multiple: int, usual: int) -> None:
    if not SIDES[0] <= size <= SIDES[1] or size % multiple:
        raise ValueError(
            f"size: got {size}; expected a multiple of {multiple} from {SIDES[0]} to {SIDES[1]} "
            f"pixels for tiles of photographs, e.g. {usual}."
        )


def _tiled(name: str, size: int, names: tuple[str, ...], *, channels: int) -> DataSet:
    """Tiles of some of the photographs."""
    columns = {
        "image": Column("image", (size, size, channels)),
        "label": Column("class", (), names),
    }
    whole, validation, test = (_split(split, size, names, channels) for split in PHOTOGRAPHS)
    train, _, _ = stratify(whole, lambda num: (num, 0, 0), by="label")  # all in every prefix
    used = ", ".join(f"{package} {version(package)}" for package in PACKAGES.values())
    source = f"{len(names)} photographs of {used}"
    return DataSet(name, source, columns, train, validation, test, mirror=DATASETS[name].mirror)


def path_of(name: str) -> Path:
    """Returns the file of a photograph by its name, a name of `NAMES`; raises like `load`."""
    photograph = next(split[name] for split in PHOTOGRAPHS.values() if name in split)
    package = PACKAGES[photograph.package]
    advice = f"run: pip install {package}"
    return carried(photograph.package, photograph.file, data="photographs", advice=advice)


def read(name: str, *, channels: int = 1) -> np.ndarray:
    """Reads a photograph by its name, (height, width) luminance or (height, width, 3), uint8.

    Args:
        name: A name of `NAMES`.
        channels: 1 or 3.

    Raises:
        ModuleNotFoundError: A package is not installed.
        FileNotFoundError: This version of a package does not carry the photograph.
    """
    shrunk = next(split[name].shrunk for split in PHOTOGRAPHS.values() if name in split)
    with Image.open(path_of(name)) as picture:
        image = picture.convert("RGB")
    image = image.convert("L") if channels == 1 else image
    return np.asarray(image if shrunk == 1 else image.reduce(shrunk))


def tiles(picture: np.ndarray, size: int, stride: int) -> Iterator[np.ndarray]:
    """Gives tiles that cover a picture, evenly spread.

    Args:
        picture: Pixels (height, width), or with channels.
        size: Side of a tile; a picture that is smaller has none.
        stride: Pixels between two tiles, at most.
    """
    sides = picture.shape[:2]
    if min(sides) < size:
        return
    tops, lefts = (
        np.linspace(0, side - size, -(-(side - size) // stride) + 1).round().astype(int)
        for side in sides
    )
    for top in tops:
        for left in lefts:
            yield picture[top : top + size, left : left + size]


def _split(split: str, size: int, names: tuple[str, ...], channels: int) -> Split:
    found: list[np.ndarray] = []
    labels: list[int] = []
    for name in PHOTOGRAPHS[split]:
        if name not in names:
            continue
        picture = read(name, channels=channels)
        if split == "train":
            half = np.asarray(Image.fromarray(picture).reduce(2))
            cut = [*tiles(picture, size, size // 4), *tiles(half, size, size // 8)]
            if channels == 1:
                cut = [_turned(tile, number) for number, tile in enumerate(cut)]
        else:
            cut = list(tiles(picture, size, size - 2 * BORDER))
        found += cut
        labels += [names.index(name)] * len(cut)
    shape = (-1, size, size, channels)
    return Split({"image": np.stack(found).reshape(shape), "label": np.array(labels, np.int32)})


def _turned(tile: np.ndarray, number: int) -> np.ndarray:
    """The tile of a number as it is learnt from: turned, or the negative of that."""
    turned = np.rot90(tile, number % 4)
    return 255 - turned if number // 4 % 2 else turned
