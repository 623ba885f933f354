"""Maps that a detector reads: of a ResNet, as a pyramid; of VGG; of a small net for scenes.

Source: Lin et al. 2017, Feature pyramid networks for object detection, arXiv:1612.03144, section 3.
Convolutions have biases and no normalisation, as torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from zoo.models.parts import conv, norm
from zoo.models.resnet import resnet
from zoo.models.vgg import stages

WIDTH = 256  # maps of each level of a pyramid
RESNET50 = (3, 4, 6, 3)
VGG16 = (2, 2, 3, 3, 3)


def resnet_stages(
    input_shape: tuple[int, ...], blocks: Sequence[int] = RESNET50
) -> tuple[KerasTensor, list[KerasTensor]]:
    """Returns a picture and the maps of a ResNet's four stages, of strides 4, 8, 16 and 32.

    The bottlenecks stride in their 3x3, as torchvision's.
    """
    net = resnet(
        name="trunk",
        input_shape=input_shape,
        num_classes=1,
        blocks=blocks,
        bottleneck=True,
        stride_in="3x3",
    )
    lasts = [f"stage{stage}_block{depth}_relu" for stage, depth in enumerate(blocks, start=1)]
    return net.inputs[0], [net.get_layer(name).output for name in lasts]


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
        if dilation > 1:
            x = layers.Conv2D(
                filters,
                3,
                dilation_rate=dilation,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=place,
            )(x)
        else:
            x = conv(x, filters, 3, strides=strides, name=place)
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


def pyramid(maps: Sequence[KerasTensor]) -> list[KerasTensor]:
    """Returns a map of each stage, with what the coarser ones have found, and one coarser still.

    Args:
        maps: Of a trunk, finest first, each half as high and wide as the one before.

    Returns:
        Maps (batch, height, width, 256): one more than came in.
    """
    merged: list[KerasTensor] = []
    for index in reversed(range(len(maps))):
        level = index + 2
        x = layers.Conv2D(WIDTH, 1, kernel_initializer="he_uniform", name=f"fpn{level}_lateral")(
            maps[index]
        )
        if merged:
            x = layers.Add(name=f"fpn{level}_add")([x, doubled(merged[0], x, f"fpn{level}")])
        merged.insert(0, x)
    found = [
        layers.Conv2D(
            WIDTH, 3, padding="same", kernel_initializer="he_uniform", name=f"fpn{level}_conv"
        )(x)
        for level, x in enumerate(merged, start=2)
    ]
    coarser = layers.MaxPooling2D(1, strides=2, name=f"fpn{len(found) + 2}_pool")(found[-1])
    return [*found, coarser]
