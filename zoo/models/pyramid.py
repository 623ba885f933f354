"""Maps that a detector reads: of a row of the catalogue, as a pyramid, of a net for scenes.

Source: Lin et al. 2017, Feature pyramid networks for object detection, arXiv:1612.03144, section 3.
Convolutions have biases and no normalisation, as torchvision's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor, layers

from zoo.catalog import find_architecture
from zoo.layers.proposals import Grid
from zoo.models.parts import conv, norm
from zoo.models.resnet import EXPANSION, FILTERS, resnet_stage
from zoo.models.trunk import trunk_maps
from zoo.models.vgg import stages

RATIOS = (0.5, 1.0, 2.0)  # of anchors
VGG16 = (2, 2, 3, 3, 3)


def vgg16_maps(input_shape: tuple[int, ...]) -> tuple[KerasTensor, KerasTensor]:
    """Returns a picture and the maps of VGG-16's last convolution, of stride 16."""
    image = keras.Input(input_shape, name="image")
    return image, stages(image, VGG16, last_pool=False)


def scene_maps(input_shape: tuple[int, ...], width: int) -> tuple[KerasTensor, KerasTensor]:
    """Returns a picture and maps of stride 4 whose places see 43 pixels of it.

    Args:
        input_shape: (height, width, channels).
        width: Number of maps; the first convolutions have fewer.
    """
    x = image = keras.Input(input_shape, name="image")  # shapes below: at 64x64x3
    plan = (
        (width // 2, 2, 1),
        (width // 2, 1, 1),
        (width, 2, 1),
        (width, 1, 1),
        (width, 1, 2),
        (width, 1, 1),
    )
    for index, (filters, strides, dilation) in enumerate(plan, start=1):
        place = f"conv{index}"
        x = conv(x, filters, 3, strides=strides, dilation=dilation, name=place)
        x = norm(x, name=f"{place}_bn", relu=f"{place}_relu")  # (batch, 16, 16, width)
    return image, x


def doubled(x: KerasTensor, other: KerasTensor, place: str) -> KerasTensor:
    """Returns maps at twice their height and width, cut at those of `other` where they were odd.

    Args:
        x: Maps (batch, height, width, channels).
        other: Maps of half their stride.
        place: What the names of the layers begin with.
    """
    x = layers.UpSampling2D(2, name=f"{place}_up")(x)
    spare = [big - small for big, small in zip(x.shape[1:3], other.shape[1:3], strict=True)]
    if not any(spare):
        return x
    return layers.Cropping2D(((0, spare[0]), (0, spare[1])), name=f"{place}_crop")(x)


def pyramid(maps: Sequence[KerasTensor], width: int) -> list[KerasTensor]:
    """Returns a map of each stage, with what the coarser ones have found, and one coarser still.

    Args:
        maps: Of a trunk, of strides 4, 8 ..., finest first.
        width: Maps of each level; the paper's 256.

    Returns:
        Maps (batch, height, width, `width`): one more than came in.
    """
    merged: list[KerasTensor] = []
    for index in reversed(range(len(maps))):
        level = index + 2
        x = layers.Conv2D(width, 1, kernel_initializer="he_uniform", name=f"fpn{level}_lateral")(
            maps[index]
        )
        if merged:
            x = layers.Add(name=f"fpn{level}_add")([x, doubled(merged[0], x, f"fpn{level}")])
        merged.insert(0, x)
    found = [
        layers.Conv2D(
            width, 3, padding="same", kernel_initializer="he_uniform", name=f"fpn{level}_conv"
        )(x)
        for level, x in enumerate(merged, start=2)
    ]
    coarser = layers.MaxPooling2D(1, strides=2, name=f"fpn{len(found) + 2}_pool")(found[-1])
    return [*found, coarser]


def row_maps(
    trunk: str,
    input_shape: tuple[int, ...],
    settings: Mapping[str, Any] | None,
    scale: float,
    stride: int,
    *,
    c4: bool,
) -> tuple[KerasTensor, list[KerasTensor], list[Grid]]:
    """Returns a picture, one map of a row, and its anchors.

    Args:
        trunk: A row of the catalogue.
        input_shape: (height, width, channels).
        settings: Settings of the row's builder.
        scale: Side of the anchors, in places; there are some of two and of four times that too.
        stride: Pixels between two places of the map.
        c4: Whether there are some of half and of a quarter of it too, as in Mask R-CNN.

    Raises:
        ValueError: The row has no such map.
    """
    image, found = trunk_maps(trunk, input_shape, settings)
    if stride not in found:
        raise ValueError(
            f"settings.stride: got {stride} of {trunk}, whose maps have "
            f"{', '.join(map(str, found))}; expected one of them."
        )
    maps = found[stride]
    powers = range(-2, 3) if c4 else range(3)
    sizes = tuple(stride * scale * 2.0**power for power in powers)
    return image, [maps], [Grid(maps.shape[1], maps.shape[2], stride, sizes, RATIOS, centred=False)]


def row_pyramid(
    trunk: str,
    input_shape: tuple[int, ...],
    settings: Mapping[str, Any] | None,
    scale: float,
    width: int,
) -> tuple[KerasTensor, list[KerasTensor], list[Grid]]:
    """Returns a picture, a pyramid on the maps of strides 4 to 32 of a row, and its anchors.

    Args:
        trunk: A row of the catalogue, with `_fpn` behind it.
        input_shape: See `row_maps`, likewise `settings`.
        settings: Settings of the row's builder.
        scale: Side of the anchors, in places.
        width: Maps of each level.

    Raises:
        ValueError: The row lacks one of the maps.
    """
    image, found = trunk_maps(trunk.removesuffix("_fpn"), input_shape, settings)
    wanted = (4, 8, 16, 32)
    if not {*wanted} <= {*found}:
        raise ValueError(
            f"faster_rcnn: got the trunk {trunk}, whose maps have strides "
            f"{', '.join(map(str, found))}; expected {', '.join(map(str, wanted))} among them."
        )
    maps = pyramid([found[stride] for stride in wanted], width)
    grids = [
        Grid(x.shape[1], x.shape[2], 2**level, (scale * 2**level,), RATIOS, centred=False)
        for level, x in enumerate(maps, start=2)
    ]
    return image, maps, grids


def last_stage(
    trunk: str, bins: int, masks: int, settings: Mapping[str, Any] | None
) -> keras.Model:
    """Returns the fifth group of layers of a ResNet, which reads regions without striding.

    Args:
        trunk: A row of `zoo.models.resnet`.
        bins: Height and width of a region.
        masks: Those of a region that is read for a mask, or 0.
        settings: Settings of the row's builder.

    Raises:
        ValueError: It is no ResNet, or the sizes differ.
    """
    row = find_architecture(trunk)
    if not row.builder.endswith(":resnet") or masks not in (0, bins):
        raise ValueError(
            f"faster_rcnn: got the trunk {trunk}_c4, bins {bins} and masks {masks}; expected a "
            "ResNet, e.g. resnet50_c4, and as many of both, or no masks."
        )
    chosen = {**row.settings, **(settings or {})}
    chosen.pop("output_stride", None)
    deep = chosen["bottleneck"]
    regions = keras.Input((bins, bins, FILTERS[-2] * (EXPANSION if deep else 1)), name="regions")
    return keras.Model(regions, resnet_stage(regions, 4, strides=1, **chosen), name="stage4")
