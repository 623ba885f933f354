"""Makes a photograph larger with a bundle of super-resolution, whatever the photograph's size.

The network reads luminance, in tiles that overlap by what an answer's pixel sees: the answer is
that of the whole photograph at once, whose edges are mirrored. Colour, which eyes see less sharply,
is made larger by bicubic interpolation (Shi et al. 2016, arXiv:1609.05158, section 4.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers
from PIL import Image

from compress.graph import leaf_layers
from compress.graph.kernels import inner
from compress.layers import Floats, Range, RangedSilu, WinogradConv2D
from zoo.bundle import Bundle, find_bundle
from zoo.common import staging
from zoo.common.picture_files import read_image
from zoo.data.preprocessing import Preprocessing
from zoo.models.saved import load_model
from zoo.stages import tiles
from zoo.tasks.super_resolution import scale_of

KIND = "super_resolution"
MOST = 100_000_000  # pixels of an answer
BICUBIC = Image.Resampling.BICUBIC
POINTWISE = (  # layers that see one place, or only move it
    layers.Activation,
    layers.BatchNormalization,
    layers.Dropout,
    layers.LeakyReLU,
    layers.ReLU,
    layers.Permute,
    layers.Reshape,
    layers.Add,
    layers.Concatenate,
    Floats,
    Range,
    RangedSilu,
)


class Enhanced(NamedTuple):
    """A photograph, made larger.

    Attributes:
        pixels: (height * scale, width * scale, channels), uint8; 3 channels, or 1 where it is grey.
        bicubic: The same by bicubic interpolation, for comparison.
        scale: Times that a side became longer.
    """

    pixels: np.ndarray
    bicubic: np.ndarray
    scale: int


def enhance(
    bundle: Bundle | str | Path,
    photo: str | Path,
    *,
    out: str | Path | None = None,
    force: bool = False,
) -> Enhanced:
    """Makes a photograph larger.

        zoo.enhance("espcn3", "photo.jpg", out="large.png").pixels

    Args:
        bundle: Bundle of super-resolution, or its directory.
        photo: Picture file of any size. It is read upright; what is transparent is laid on white,
            16 bits become 8.
        out: PNG file to write; `NAME-bicubic.png` beside it is the comparison. `None` writes
            nothing.
        force: Whether both may replace files.

    Raises:
        FileExistsError: A file to write exists, or is the photograph.
        FileNotFoundError: There is no such bundle or photograph.
        ValueError: The bundle is of another task, the file is no picture, the answer would be too
            large, or `out` is no PNG.
    """
    bundle = find_bundle(bundle)
    if bundle.card.task != KIND:
        raise ValueError(
            f"{bundle.path}: is of the task {bundle.card.task}, which makes no picture larger; "
            f"expected a bundle of {KIND}, e.g. of espcn3."
        )
    if not isinstance(photo, (str, Path)):
        raise ValueError(
            f"enhance: got {type(photo).__name__}; expected the path of a picture file. Write the "
            "pixels to a PNG file."
        )
    places = [] if out is None else _places(Path(out), Path(photo), force=force)
    image = read_image(photo)
    model = load_model(bundle.path)
    scale = scale_of(model)
    size = image.width * scale, image.height * scale
    if size[0] * size[1] > MOST:
        raise ValueError(
            f"{photo}: {image.width} x {image.height} pixels would become {size[0] * size[1]:,}; "
            f"expected {MOST:,} at most. Cut it into parts."
        )
    known = Preprocessing.parse(bundle.card.preprocessing, where=f"{bundle.path}/card.json")
    factor, offset = (float(value[0]) for value in known.affine)
    luminance, *colours = image.convert("YCbCr").split()
    made = enlarge(model, np.asarray(luminance, np.float32) * factor + offset)
    large = [
        Image.fromarray(np.floor(255 * made.clip(0, 1) + 0.5).astype(np.uint8)),
        *(colour.resize(size, BICUBIC) for colour in colours),
    ]
    pixels = np.asarray(Image.merge("YCbCr", large).convert("RGB"))
    bicubic = np.asarray(image.resize(size, BICUBIC))
    given = np.asarray(image)
    if (given == given[..., :1]).all():
        pixels, bicubic = np.asarray(large[0])[..., None], bicubic[..., :1]
    for picture, place in zip((pixels, bicubic), places, strict=False):
        with staging.staged_file(place) as partial:
            Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(partial)
    return Enhanced(pixels, bicubic, scale)


def enlarge(model: keras.Model, values: np.ndarray) -> np.ndarray:
    """Runs a network of one size on a picture of any size.

    Args:
        model: Reads (batch, rows, columns, 1) and answers `scale` times as large.
        values: What it reads of the whole picture, (height, width), float32.

    Returns:
        The answer (height * scale, width * scale), float32.

    Raises:
        ValueError: A tile is smaller than what one pixel of the answer sees; or that is not known,
            see `reach`.
    """
    scale, overlap = scale_of(model), reach(model)
    rows, columns = model.inputs[0].shape[1:3]
    down, across = rows - 2 * overlap, columns - 2 * overlap  # of a tile, what is kept
    if min(down, across) < 1:
        raise ValueError(
            f"{model.name}: reads {rows} x {columns} pixels, and one of its answer sees "
            f"{2 * overlap + 1}; expected more. Train it on larger tiles, data.size."
        )
    return tiles.in_tiles(
        model.predict_on_batch,
        values[..., None],
        tile=(down, across),
        margin=overlap,
        scale=scale,
    )[..., 0]


def reach(model: keras.Model) -> int:
    """Returns how many pixels to each side an answer's pixel sees of what is read, at most.

    Args:
        model: Convolutions of stride 1, one after another.

    Raises:
        ValueError: A layer has strides, or it is not known what it sees.
    """
    sides = [0, 0]
    for path, layer in leaf_layers(model):
        own = inner(layer)
        if isinstance(own, POINTWISE):
            continue
        size, dilation = (3, 3), (1, 1)  # of `WinogradConv2D`
        if not isinstance(own, WinogradConv2D):
            plain = isinstance(own, (layers.Conv2D, layers.DepthwiseConv2D))
            if not plain or own.strides != (1, 1):
                told = f"strides of {own.strides}" if plain else "a reach that is not known"
                raise ValueError(
                    f"{model.name}: its layer {path} ({type(own).__name__}) has {told}; expected "
                    "convolutions of stride 1, of which tiles fit together."
                )
            size, dilation = own.kernel_size, own.dilation_rate
        for axis in range(2):
            sides[axis] += ((size[axis] - 1) * dilation[axis] + 1) // 2
    return max(sides)


def _places(out: Path, photo: Path, *, force: bool) -> list[Path]:
    """The answer's file and the comparison's, checked before any work."""
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out: got {out}; expected a file that ends in .png.")
    places = [out, out.with_name(f"{out.stem}-bicubic.png")]
    for place in places:
        staging.check_file(place, force=force, read=[photo])
    return places
