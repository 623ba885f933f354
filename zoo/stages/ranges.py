"""Ranges of pixels: what a pixel of 0 to 255 becomes for a model that the zoo has not made."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import keras
import numpy as np

from zoo.common.settings import nearest
from zoo.data.preprocessing import Preprocessing

LOG = logging.getLogger("zoo")


class Range(NamedTuple):
    """What a pixel x of 0 to 255 becomes: (x * scale - mean) / std, alike or by channel."""

    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


RANGES = {
    "0..255": Range(1.0),
    "0..1": Range(1 / 255),
    "-1..1": Range(1 / 127.5, (1.0,)),
    # Mean and deviation of ImageNet's red, green and blue, as in torchvision.
    "torch": Range(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
ALSO = {"tf": "-1..1"}  # the names of `keras.applications.imagenet_utils.preprocess_input`
BGR = "caffe"
WHOLE = "0..255"  # the one that integers have


def ranges_of(model: keras.Model, values: str | None, *, channels: int) -> list[str]:
    """Returns the ranges that the pixels of a model may have, or the one that is asked for.

    Args:
        model: Reads pictures.
        values: What was asked for, a key of `RANGES`; `None`: nothing.
        channels: 1 or 3.

    Raises:
        ValueError: There is no such range, or it does not fit the model's input.
    """
    values = ALSO.get(values or "", values)
    if values == BGR:
        raise ValueError(
            "--values: got caffe, whose channels are blue, green, red, which no preprocessing here "
            "makes; expected a model of red, green, blue. Build `x[..., ::-1] - mean` into its "
            "beginning, and take 0..255."
        )
    if values is not None and values not in RANGES:
        raise ValueError(f"--values: got {values!r}; expected a range. {nearest(values, RANGES)}")
    fitting = [name for name, one in RANGES.items() if len(one.mean) in (1, channels)]
    if (dtype := keras.backend.standardize_dtype(model.inputs[0].dtype)).find("int") >= 0:
        if np.iinfo(dtype).max < 255:
            raise ValueError(
                f"{model.name}: reads {dtype}; expected uint8 or floats, which hold pixels of 0 to "
                "255. Begin the model with a cast."
            )
        fitting = [WHOLE]
    if values is None:
        return fitting
    if values not in fitting:
        raise ValueError(
            f"--values: got {values} for {model.name}, which reads {dtype} of {channels} channels; "
            f"expected {' or '.join(fitting)}."
        )
    return [values]


def refuse_values(values: str | None, what: str) -> None:
    """Refuses a range of pixels for a model that reads none.

    Raises:
        ValueError: There is one.
    """
    if values is not None:
        raise ValueError(
            f"--values: got {values!r} for a model of {what}, which it takes as they are; expected "
            "none."
        )


def as_range(size: int, channels: int, name: str) -> Preprocessing:
    """Returns how pixels become inputs of a range.

    Args:
        size: Side of the pictures.
        channels: 1 or 3.
        name: A key of `RANGES`.
    """
    scale, mean, std = RANGES[name]
    times = channels // len(mean)
    return Preprocessing(
        size=size, channels=channels, scale=scale, mean=mean * times, std=std * times
    )


def as_they_are(columns: int) -> Preprocessing:
    """Returns that the rows of a table are inputs already."""
    return Preprocessing(
        size=None, channels=columns, scale=1.0, mean=(0.0,) * columns, std=(1.0,) * columns
    )


def picture_shape(model: keras.Model, *, what: str) -> tuple[int, int]:
    """Returns the side and the channels of the pictures that a model reads.

    Raises:
        ValueError: It reads none, or none that are square and of a known size.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    shape = shapes[0]
    if len(shapes) != 1 or len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):
        raise ValueError(
            f"{model.name}: got {what} for a model that reads {', '.join(map(str, shapes))}; "
            "expected one input (side, side, 1 or 3) of a known size."
        )
    if shape[0] is None:
        raise ValueError(
            f"{model.name}: got {what} for a model of pictures of any size; expected a known one. "
            f"Give it one: keras.Model(x := keras.Input((224, 224, {shape[2]})), model(x))."
        )
    return int(shape[0]), int(shape[2])


def taken(model: keras.Model, values: str | None) -> Preprocessing:
    """Returns how a file of a picture, or of a table, becomes an input where nothing is known.

    Args:
        model: Reads pictures, or rows of a table.
        values: Range of the pixels; `None`: 0 to 255, which a line says.

    Raises:
        ValueError: It reads neither, or the range does not fit.
    """
    shape: tuple[Any, ...] = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) == 1 and len(shape) == 1 and shape[0] is not None:
        refuse_values(values, "rows of a table")
        return as_they_are(int(shape[0]))
    size, channels = picture_shape(model, what="a picture")
    name = ranges_of(model, values, channels=channels)[0]
    if values is None:
        LOG.warning("%s: is given pixels of %s; --values says otherwise", model.name, name)
    return as_range(size, channels, name)
