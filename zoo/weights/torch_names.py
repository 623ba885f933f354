"""What torch's modules are called, for the nets whose trained weights are a torch file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import keras

from zoo import catalog

BLOCK = re.compile(r"(stage\d+_block\d+)_(expand|depthwise|project)")


class _Family(NamedTuple):
    """Names of one file's nets.

    Attributes:
        ends: The layers outside the blocks.
        block: The number of a block, one of its parts and that part's place in it, to the modules
            of the convolution and of its normalisation.
    """

    ends: dict[str, str]
    block: Callable[[int, str, int], tuple[str, str]]


def torch_names(model: keras.Model, name: str) -> dict[str, str]:
    """Returns the torch module of each layer with weights.

    Args:
        model: A MobileNetV2 or an EfficientNet-Lite.
        name: Its row of the catalogue.
    """
    family = FAMILIES[catalog.find_architecture(name).builder.partition(":")[2]]
    blocks: dict[str, list[str]] = {}  # each block's parts, in order
    for layer in model.layers:
        match = BLOCK.fullmatch(layer.name)
        if match:
            blocks.setdefault(match[1], []).append(match[2])
    names = dict(family.ends)
    for number, (place, parts) in enumerate(blocks.items()):
        for index, part in enumerate(parts):
            conv, norm = family.block(number, part, index)
            names |= {f"{place}_{part}": conv, f"{place}_{part}_bn": norm}
    return names


def _mobilenet_v2(number: int, part: str, index: int) -> tuple[str, str]:
    place = f"features.{number + 1}.conv.{index}"  # a part with a ReLU is a module of its own
    if part == "project":
        return place, f"features.{number + 1}.conv.{index + 1}"
    return f"{place}.0", f"{place}.1"


def _efficientnet_lite(number: int, part: str, index: int) -> tuple[str, str]:
    norm = ("expand", "depthwise", "project").index(part)
    return f"_blocks.{number}._{part}_conv", f"_blocks.{number}._bn{norm}"


FAMILIES = {
    "mobilenet_v2": _Family(
        {
            "stem_conv": "features.0.0",
            "stem_conv_bn": "features.0.1",
            "head_conv": "features.18.0",
            "head_conv_bn": "features.18.1",
            "logits": "classifier.1",
        },
        _mobilenet_v2,
    ),
    "efficientnet_lite": _Family(
        {
            "stem_conv": "_conv_stem",
            "stem_conv_bn": "_bn0",
            "head_conv": "_conv_head",
            "head_conv_bn": "_bn1",
            "logits": "_fc",
        },
        _efficientnet_lite,
    ),
}
