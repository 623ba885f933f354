"""The weights that Keras publishes with `keras.applications`, for VGG, ResNet and DenseNet.

Keras fetches its own file (`keras.utils.get_file`, which checks it) and builds its own model; the
weights are carried over by name. The files of VGG and ResNet v1 come from Caffe and expect blue,
green, red: the input channels of the first kernel are put in the order red, green, blue.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Collection

import keras

from zoo import catalog
from zoo.common.reading import one_line
from zoo.weights import Weights, transplant

APPLICATIONS = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "resnet50_v2": "ResNet50V2",
    "resnet101_v2": "ResNet101V2",
    "resnet152_v2": "ResNet152V2",
    "densenet121": "DenseNet121",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
}
BGR = {"vgg": "stage1_conv1", "resnet": "stem_conv"}  # the first convolution, where it is Caffe's

# Our layers (a pattern) and Keras' partners, by builder; `next` is the stage and one.
_BLOCK = r"stage(?P<stage>\d)_block(?P<block>\d+)"
_PART = "conv{next}_block{block}_{part}"
_HEAD = ("logits", "predictions")
RULES = {
    "vgg": (
        (r"stage(?P<stage>\d)_conv(?P<part>\d)", "block{stage}_conv{part}"),
        ("fc6", "fc1"),
        ("fc7", "fc2"),
        _HEAD,
    ),
    "resnet": (
        ("stem_conv", "conv1_conv"),
        ("stem_conv_bn", "conv1_bn"),
        (_BLOCK + r"_conv(?P<part>\d)", _PART + "_conv"),
        (_BLOCK + r"_conv(?P<part>\d)_bn", _PART + "_bn"),
        (_BLOCK + "_shortcut", "conv{next}_block{block}_0_conv"),
        (_BLOCK + "_shortcut_bn", "conv{next}_block{block}_0_bn"),
        _HEAD,
    ),
    "resnet_v2": (
        ("stem_conv", "conv1_conv"),
        (_BLOCK + r"_conv(?P<part>\d)", _PART + "_conv"),
        (_BLOCK + "_bn1", "conv{next}_block{block}_preact_bn"),
        (_BLOCK + "_bn2", "conv{next}_block{block}_1_bn"),
        (_BLOCK + "_bn3", "conv{next}_block{block}_2_bn"),
        (_BLOCK + "_shortcut", "conv{next}_block{block}_0_conv"),
        ("final_bn", "post_bn"),
        _HEAD,
    ),
    "densenet": (
        ("stem_conv", "conv1_conv"),
        ("stem_conv_bn", "conv1_bn"),
        (r"stage(?P<stage>\d)_layer(?P<block>\d+)_conv(?P<part>\d)", _PART + "_conv"),
        (r"stage(?P<stage>\d)_layer(?P<block>\d+)_bn1", "conv{next}_block{block}_0_bn"),
        (r"stage(?P<stage>\d)_layer(?P<block>\d+)_bn2", "conv{next}_block{block}_1_bn"),
        (r"transition(?P<stage>\d)_(?P<part>bn|conv)", "pool{next}_{part}"),
        ("final_bn", "bn"),
        _HEAD,
    ),
}


def published(row: Weights) -> keras.Model:
    """Returns Keras' own model with its published weights, which are fetched where missing.

    Raises:
        ConnectionError: Keras could not fetch them, or what it got is not what it expected.
    """
    build = getattr(keras.applications, APPLICATIONS[row.model])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its progress bar is no answer
            return build(weights=row.name, classifier_activation=None)
    except Exception as error:  # `get_file` raises a bare Exception
        raise ConnectionError(
            f"{row.model}: Keras could not load its weights ({one_line(error)}). Its own file is "
            f"looked for at {row.file.place} first."
        ) from None


def fill(model: keras.Model, row: Weights, *, skip: Collection[str] = ()) -> None:
    """Sets the weights of a model from those that Keras publishes.

    Args:
        model: Built by the row's builder, with the row's settings.
        row: The weights.
        skip: Layers that keep the weights they have.

    Raises:
        ConnectionError: Keras could not fetch them.
        ValueError: They do not fit the model.
    """
    family = catalog.find_architecture(row.model).builder.partition(":")[2]
    names = {layer.name: _partner(family, layer.name) for layer in model.layers if layer.weights}
    transplant.from_keras(model, published(row), names, skip=skip, flip=BGR.get(family))


def _partner(family: str, name: str) -> str:
    for pattern, partner in RULES[family]:
        match = re.fullmatch(pattern, name)
        if match:
            parts = match.groupdict()
            return partner.format(next=int(parts.get("stage", 0)) + 1, **parts)
    raise ValueError(f"{family}: the layer {name!r} has no partner in keras.applications.")
