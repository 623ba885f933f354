"""From pictures to answers: labels and probabilities, boxes, shares, as `zoo predict` gives them.

What is done to a picture and what the numbers mean is in the manifest.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serving.engines import Arrays
from zoo.common.answers import MEANINGS, answers
from zoo.common.boxes import clipped, in_picture
from zoo.common.picture_files import decode_image
from zoo.common.preprocessing import Preprocessing

if TYPE_CHECKING:
    from serving.repository import Version

CODED = "b64"
BOXED = ("detect", "dense_caption")  # tasks whose boxes are in pixels


class Asked(NamedTuple):
    """What the answer needs of the pictures.

    Attributes:
        sizes: Width and height of each, in pixels.
        top: Number of classes to name for each.
    """

    sizes: list[tuple[int, int]]
    top: int


def coded(instances: Any) -> list[bytes] | None:
    """Returns the files of instances `{"b64": "..."}`; `None` where they are something else.

    Raises:
        ValueError: One is not base64.
    """
    if type(instances) is not list or not instances:
        return None
    if not all(type(one) is dict and set(one) == {CODED} for one in instances):
        return None
    files = []
    for place, one in enumerate(instances):
        try:
            files.append(base64.b64decode(one[CODED], validate=True))
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"instances[{place}].b64: expected the base64 of a file.") from None
    return files


def read(files: Sequence[bytes], version: Version, *, top: int = 3) -> tuple[Arrays, Asked]:
    """Makes inputs of picture files.

    Args:
        files: Each a file of one of `picture_files.FORMATS`.
        version: What is asked.
        top: Number of classes to name for each.

    Raises:
        ValueError: A file is not a whole picture, or the model reads no pictures.
    """
    if not files:
        raise ValueError("pictures: got none; expected files.")
    known, name, dtype = _reads(version)
    pixels, sizes = [], []
    for place, data in enumerate(files):
        image = decode_image(data, f"picture {place}")
        pixels.append(known.pixels(image))
        sizes.append(image.size)
    inputs = known.apply(np.stack(pixels)).astype(dtype, copy=False)
    return {name: inputs}, Asked(sizes, top)


def write(outputs: Arrays, asked: Asked, version: Version) -> str:
    """Returns the rows of the answer to each picture; boxes are in the picture's own pixels.

    Raises:
        ValueError: An output is not finite.
    """
    manifest, task = version.manifest, version.manifest.task
    given: Any = dict(outputs)
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise ValueError(f"output {name!r}: not finite, so that it means nothing.")
        if "probabilit" in manifest.meanings.get(name, "") and task not in BOXED:
            given[name] = _logits(array, several=array.shape[-1] > 1 and task != "traits")
    if len(given) == 1:
        (given,) = given.values()
    found = answers(task, given, labels=_labels(version), top=asked.top)
    if task in BOXED:
        known, *_ = _reads(version)
        found = [
            clipped(in_picture(rows, size, known), size)
            for rows, size in zip(found, asked.sizes, strict=True)
        ]
    return json.dumps({"predictions": found})


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
        raise ValueError(
            f"{version.name}: got a picture; the manifest does not say how one becomes an input. "
            "Send numbers, as 'instances' or 'inputs'."
        )
    if manifest.task not in MEANINGS:
        raise ValueError(
            f"{version.name}: got a picture; the manifest does not say what its answers mean. Send "
            "numbers, as 'instances' or 'inputs'."
        )
    return known, inputs[0].name, inputs[0].dtype


def _labels(version: Version) -> Sequence[str]:
    """Names of the classes; their numbers where there are none."""
    outputs = version.engine.signature.outputs
    if version.manifest.labels or len(outputs) > 1:
        return version.manifest.labels
    return [str(number) for number in range(max(2, outputs[0].shape[-1] or 0))]


def _logits(shares: np.ndarray[Any, Any], *, several: bool) -> np.ndarray[Any, Any]:
    """What a softmax, or a sigmoid, makes these probabilities of."""
    shares = np.clip(shares.astype(np.float32), 1e-7, 1 - 1e-7)  # as Keras' own losses do
    logs: np.ndarray[Any, Any] = np.log(shares)
    return logs if several else logs - np.log(1 - shares)
