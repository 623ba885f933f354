"""From pictures to answers: labels and probabilities, boxes, masks, as `zoo predict` gives them.

What is done to a picture and what the numbers mean is in the manifest.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serving.answers import readings
from serving.engines import Arrays
from zoo.common.picture_files import decode_image
from zoo.common.placed import placed
from zoo.common.preprocessing import Preprocessing

if TYPE_CHECKING:
    from serving.models.versions import Version

CODED = "b64"
MOST_FILES = 64  # of a request


_BEGINNINGS = {
    b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif",
    b"RIFF": "image/webp", b"BM": "image/bmp", b"II*\0": "image/tiff", b"MM\0*": "image/tiff",
}  # fmt: skip


class Given(NamedTuple):
    """What the answer needs of the pictures.

    Attributes:
        sizes: Width and height of each, in pixels.
        top: Number of classes to name for each.
        by_row: Whether the request was in rows.
    """

    sizes: list[tuple[int, int]]
    top: int
    by_row: bool = True


class Coded(NamedTuple):
    """Files of a request.

    Attributes:
        files: Their bytes.
        by_row: Whether they were in rows.
    """

    files: list[bytes]
    by_row: bool


def coded(request: Mapping[str, Any], key: str, name: str) -> Coded | None:
    """Returns the files `{"b64": "..."}` of a request; `None` where it holds something else.

    A row is such an object, or one with the name of the input: `{"image": {"b64": "..."}}`. A
    column is a list of them, by the name of the input or alone.

    Args:
        request: The request.
        key: Where the rows or columns are, e.g. `instances`.
        name: Name of the model's only input.

    Raises:
        ValueError: One is not base64.
    """
    given, by_row = request.get(key), key != "inputs"
    if not by_row and type(given) is dict and set(given) == {name}:
        given = given[name]
    if type(given) is not list or not given:
        return None
    rows = [
        one[name] if by_row and type(one) is dict and set(one) == {name} else one for one in given
    ]
    if not all(type(one) is dict and set(one) == {CODED} for one in rows):
        return None
    files = []
    for place, one in enumerate(rows):
        try:
            files.append(base64.b64decode(one[CODED], validate=True))
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{key}[{place}].b64: expected the base64 of a file.") from None
    return Coded(files, by_row)


def read(
    files: Sequence[bytes],
    version: Version,
    *,
    top: int = 3,
    by_row: bool = True,
    most_pixels: int | None = None,
) -> tuple[Arrays, Given]:
    """Makes inputs of picture files.

    Args:
        files: Each a file of one of `picture_files.FORMATS`.
        version: What is asked.
        top: Number of classes to name for each.
        by_row: Whether the request was in rows.
        most_pixels: Of a picture; a larger one is refused before it is decoded.

    Raises:
        ValueError: A file is not a whole picture, there are too many, or the model reads none.
    """
    if not files:
        raise ValueError("pictures: got none; expected files.")
    if len(files) > MOST_FILES:
        raise ValueError(f"pictures: got {len(files)}; expected {MOST_FILES} at most.")
    known, name, dtype = _reads(version)
    pixels, sizes = [], []
    for place, data in enumerate(files):
        image = decode_image(data, f"picture {place}", most_pixels)
        pixels.append(known.pixels(image))
        sizes.append(image.size)
    inputs = known.apply(np.stack(pixels)).astype(dtype, copy=False)
    return {name: inputs}, Given(sizes, top, by_row)


def write(outputs: Arrays, asked: Given, version: Version) -> str:
    """Returns the rows of the answer to each picture; places are in the picture's own pixels.

    Raises:
        ValueError: An output is not finite.
    """
    known, *_ = _reads(version)
    found, given = readings.rows(version, outputs, top=asked.top)
    moved = placed(version.manifest.task, found, given, asked.sizes, known.size)
    return json.dumps({"predictions" if asked.by_row else "outputs": moved})


def format_of(body: bytes) -> str | None:
    """Returns the content type of a picture file by how it begins; no JSON begins so."""
    return next((kind for begin, kind in _BEGINNINGS.items() if body.startswith(begin)), None)


def takes_pictures(version: Version) -> bool:
    """Whether a model answers pictures."""
    try:
        _reads(version)
    except ValueError:
        return False
    return True


def _reads(version: Version) -> tuple[Preprocessing, str, str]:
    """How pictures become inputs, and name and type of the input.

    Raises:
        ValueError: The model reads none, or nothing is known of its answers.
    """
    manifest, inputs = version.manifest, version.engine.signature.inputs
    known = Preprocessing.parse(manifest.preprocessing, where="manifest: preprocessing")
    fits = known.size is not None and known.channels is not None and len(inputs) == 1
    shape = inputs[0].shape[1:]
    if not fits or any(a not in (None, b) for a, b in zip(shape, known.shape, strict=True)):
        why = "the manifest does not say how one becomes an input"
        if version.sessions.states:
            why = "this is a step of a model with states, which takes numbers in sessions"
        elif len(inputs) > 1:
            why = f"the model has {len(inputs)} inputs"
        raise ValueError(
            f"{version.name}: got a picture; {why}. Send numbers, as 'instances' or 'inputs'; "
            "`zoo predict` takes pictures where the model itself is at hand."
        )
    readings.check(version)
    return known, inputs[0].name, inputs[0].dtype
