"""Reads picture files. Everything that reads a picture reads it here.

A user's files are not to be trusted: a file is refused, in one line, when it is missing, empty, cut
short, of another format than its name promises, or larger than Pillow's limit of 89 million pixels.
A flipped bit that still decodes as JPEG is not noticed.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.common.layouts import SUFFIXES

__all__ = ["FORMATS", "SUFFIXES", "read_image", "read_mask"]
LOG = logging.getLogger("zoo")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")


def read_image(path: str | Path) -> Image.Image:
    """Reads a picture as 8-bit RGB, upright.

    The EXIF orientation is applied; transparent pixels are laid on white; 16-bit grey is divided by
    257; of an animation, the first frame is taken.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a whole picture of one of `FORMATS`.
    """
    image: Image.Image = _read(path, FORMATS, lambda file: _to_rgb(ImageOps.exif_transpose(file)))
    return image


def decode_image(data: bytes, name: str, most_pixels: int | None = None) -> Image.Image:
    """Reads the bytes of a picture file as `read_image` does.

    Args:
        data: The file.
        name: What an error line calls it.
        most_pixels: A larger picture is not decoded; `None`: Pillow's limit.

    Raises:
        ValueError: It is not a whole picture of one of `FORMATS`.
    """
    if not data:
        raise ValueError(f"{name}: the file is empty.")
    image: Image.Image = _opened(
        io.BytesIO(data),
        name,
        FORMATS,
        lambda file: _to_rgb(ImageOps.exif_transpose(file)),
        most_pixels,
    )
    return image


def read_mask(path: str | Path) -> np.ndarray:
    """Reads a mask: the class of each pixel (height, width), uint8.

    A palette gives its indices, one bit 0 and 1, grey its level; of colours, all must be grey.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no whole PNG, or a pixel is no class of 0 to 255.
    """
    values: np.ndarray = _read(path, ("PNG",), np.asarray)
    if values.ndim == 3:
        colours = values if values.shape[-1] in (1, 3) else values[..., :-1]  # the last is opacity
        if (colours != colours[..., :1]).any():
            raise ValueError(f"{path}: got colours; expected the number of a class at each pixel.")
        values = colours[..., 0]
    if values.dtype.kind != "b" and (values.min() < 0 or values.max() > 255):
        raise ValueError(
            f"{path}: got pixels of {values.min()} to {values.max()}; expected classes of 0 to 255."
        )
    return values.astype(np.uint8)


def _read(path: str | Path, formats: tuple[str, ...], make: Callable[[Any], Any]) -> Any:
    """What a function makes of a picture file that was opened."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; expected a picture file.")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty.")
    return _opened(path, path, formats, make)


def _opened(
    file: Any,
    path: str | Path,
    formats: tuple[str, ...],
    make: Callable[[Any], Any],
    most_pixels: int | None = None,
) -> Any:
    """What a function makes of an open picture; `path` is its name in an error line."""
    limit = min(most_pixels or sys.maxsize, Image.MAX_IMAGE_PIXELS or sys.maxsize)
    try:
        with Image.open(file, formats=formats) as image:
            # Pillow only warns at first, and what becomes of a warning is the whole process's.
            if image.width * image.height > limit:
                raise Image.DecompressionBombError
            if (frames := getattr(image, "n_frames", 1)) > 1:
                LOG.warning("%s: an animation of %s frames; the first is taken", path, frames)
            return make(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(
            f"{path}: more than {limit:,} pixels; expected a smaller picture."
        ) from None
    except UnidentifiedImageError:
        told = ", ".join(formats)
        raise ValueError(
            f"{path}: not a picture; expected {told}. Of another kind, e.g. TIFF, convert it."
        ) from None
    # Pillow's decoders raise OSError, SyntaxError, IndexError, struct.error and others.
    except Exception as error:
        raise ValueError(f"{path}: unreadable picture ({' '.join(str(error).split())}).") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I"):
        # Pillow's own conversion to 8 bits saturates at 255 instead of scaling.
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
