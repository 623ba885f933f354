"""PANDA: a network for each part of a figure and one for all of it, then all attributes at once.

Source: Zhang et al. 2014, PANDA: pose aligned networks for deep attribute modeling,
arXiv:1311.5591, sections 3.1 and 3.2: a patch of each part goes through convolutions of its own,
which all attributes share; the features of the parts and of the whole are put together. Differs:
the parts' boxes are given, where the paper finds 150 poselets; logistic units learn with the
networks, where the paper trains a linear SVM of each attribute afterwards; patches are of 16x16
pixels.

A network of one patch, of W maps and U units, has 28 W + 18 W^2 + 2 W + 32 W U + U weights. Of 16
maps and 64 units 37,920, four of them, and 257 * 10: 154,250. `apart`, ten attributes with networks
of their own of 5 maps and 20 units, which are of equal size: 10 (4 * 3,820 + 81) = 153,610.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from zoo.layers.roi import ROIAlign

BINS = 16  # side of a patch


def panda(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    parts: int = 3,
    width: int = 16,
    units: int = 64,
    apart: bool = False,
) -> keras.Model:
    """Returns the model: `image` and `regions` (batch, parts, 4) to `logits` (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Number of attributes, each a yes or no.
        parts: Number of parts; their boxes are y1, x1, y2, x2 in pixels.
        width: Maps of the first convolution of a patch.
        units: Features of a patch.
        apart: Whether each attribute has networks of its own.
    """
    image = keras.Input(input_shape, name="image")
    regions = keras.Input((parts, 4), name="regions")
    height, across, channels = input_shape
    cut = ROIAlign(BINS, strides=(1,), name="patches")([image, regions])
    whole = layers.AveragePooling2D((height // BINS, across // BINS), name="whole")(image)
    patches = {"whole": whole}
    for number, one in enumerate(ops.split(cut, parts, axis=1), start=1):
        place = f"part{number}"
        patches[place] = layers.Reshape((BINS, BINS, channels), name=place)(one)
    answers = []
    for number in range(1, 1 + (num_classes if apart else 1)):
        prefix = f"trait{number}_" if apart else ""
        seen = [_patch(x, width, units, prefix + place) for place, x in patches.items()]
        x = layers.Concatenate(name=f"{prefix}features")(seen)
        last = f"{prefix}logit" if apart else "logits"
        answers.append(layers.Dense(1 if apart else num_classes, dtype="float32", name=last)(x))
    logits = layers.Concatenate(name="logits", dtype="float32")(answers) if apart else answers[0]
    return keras.Model([image, regions], logits, name=name)


def _patch(x: Any, width: int, units: int, name: str) -> Any:
    """The features of a patch, (batch, units)."""
    for number, filters in enumerate((width, 2 * width), start=1):
        place = f"{name}_conv{number}"
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=place)(x)
        x = layers.MaxPooling2D(2, name=f"{name}_pool{number}")(x)
    x = layers.Flatten(name=f"{name}_flat")(x)
    return layers.Dense(units, "relu", name=f"{name}_features")(x)
