"""Reads picture files. Everything that reads a picture reads it here.

A user's files are not to be trusted: a file is refused, in one line, when it is missing, empty, cut
short, of another format than its name promises, or larger than Pillow's limit of 89 million pixels.
A flipped bit that still decodes as JPEG is not noticed.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")


def read_image(path: str | Path) -> Image.Image:
    """Reads a picture as 8-bit RGB, upright.

    The EXIF orientation is applied; transparent pixels are laid on white; 16-bit grey is divided by
    257; of an animation, the first frame is taken.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a whole picture of one of `FORMATS`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as file:
                return _to_rgb(ImageOps.exif_transpose(file))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise ValueError(f"{path}: more than {limit} pixels; expected a smaller picture.") from None
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise ValueError(f"{path}: not a picture; expected {formats}.") from None
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
