"""ResNet-18, -34, -50, -101 and -152, and the wide ResNet-50-2.

Source: He, Zhang, Ren & Sun 2015, Deep residual learning for image recognition, arXiv:1512.03385,
table 1, with projections where the shape changes (option B). WRN-50-2: Zagoruyko & Komodakis 2016,
arXiv:1605.07146, section 3, whose inner 3x3 is twice as wide. Differs: settings for the form of
torchvision ("v1.5": a bottleneck strides in its 3x3) and for that of Keras (biases, epsilon).
25,557,032 parameters for ResNet-50 at 224x224x3; the two forms have equally many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, layers

from zoo.models.parts import conv, norm

FILTERS = (64, 128, 256, 512)  # of the 3x3 convolutions in each stage, before `width`
EXPANSION = 4  # a bottleneck gives four times as many maps as its 3x3
STRIDING = ("1x1", "3x3")


def resnet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    blocks: Sequence[int],
    bottleneck: bool,
    stride_in: str = "1x1",
    width: int = 1,
    conv_bias: bool = False,
    epsilon: float = 1e-5,
    output_stride: int = 32,
) -> keras.Model:
    """Returns a ResNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Length of the output.
        blocks: Residual blocks in each of the four stages: a column of table 1.
        bottleneck: Whether a block is 1x1, 3x3, 1x1 instead of 3x3, 3x3.
        stride_in: Which convolution of a bottleneck halves the maps: the first `1x1`, as in the
            paper, or the `3x3`.
        width: Factor of the maps within a bottleneck.
        conv_bias: Whether the convolutions have biases, which the next normalisation takes away:
            the form of `keras.applications`, whose `epsilon` is 1.001e-5.
        epsilon: Added to the variances.
        output_stride: Pixels between two places of the last maps: 32, or 16 or 8, where what would
            halve the maps dilates the 3x3 convolutions behind it instead (Yu & Koltun 2016,
            arXiv:1511.07122), as in torchvision's networks for segmentation.

    Raises:
        ValueError: `blocks` is not four numbers, `stride_in` or `output_stride` is unknown, or
            `width` is not 1 and there are no bottlenecks.
    """
    if len(blocks) != len(FILTERS):
        raise ValueError(
            f"resnet: blocks got {blocks!r}; expected {len(FILTERS)} numbers, one a stage."
        )
    if stride_in not in STRIDING:
        raise ValueError(f"resnet: stride_in got {stride_in!r}; expected one of {STRIDING}.")
    if width != 1 and not bottleneck:
        raise ValueError(f"resnet: width got {width}; expected 1, or bottleneck=True with it.")

    if output_stride not in (32, 16, 8):
        raise ValueError(f"resnet: output_stride got {output_stride}; expected 32, 16 or 8.")
    image = keras.Input(input_shape, name="image")  # shapes below: at 224x224
    form: dict[str, Any] = {"conv_bias": conv_bias, "epsilon": epsilon}
    x = _unit(image, 64, 7, strides=2, name="stem_conv", **form)  # (batch, 112, 112, 64)
    # After a ReLU the zeros of the padding are never the largest.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)  # (batch, 56, 56, 64)
    at, dilation = 4, 1
    for stage in range(1, len(FILTERS) + 1):
        first, strides = dilation, 1 if stage == 1 else 2
        if at * strides > output_stride:
            strides, dilation = 1, 2 * dilation
        at *= strides
        x = resnet_stage(
            x,
            stage,
            blocks=blocks,
            bottleneck=bottleneck,
            strides=strides,
            dilations=(first, dilation),
            stride_in=stride_in,
            width=width,
            **form,
        )
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (batch, 512), or 2048 with bottlenecks
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def resnet_stage(
    x: KerasTensor,
    stage: int,
    *,
    blocks: Sequence[int],
    bottleneck: bool,
    strides: int,
    dilations: tuple[int, int] = (1, 1),
    stride_in: str = "1x1",
    width: int = 1,
    conv_bias: bool = False,
    epsilon: float = 1e-5,
) -> KerasTensor:
    """One stage: maps (batch, height, width, channels) to those of its last block.

    Args:
        x: What the stage before has made.
        stage: Its number, from 1.
        blocks: See `resnet`, likewise `bottleneck`, `stride_in`, `width`, `conv_bias`, `epsilon`.
        bottleneck: Whether a block is 1x1, 3x3, 1x1.
        strides: Of the first block.
        dilations: Of the 3x3 convolutions of the first block, and of the others.
        stride_in: Which convolution of a bottleneck strides.
        width: Factor of the maps within a bottleneck.
        conv_bias: Whether the convolutions have biases.
        epsilon: Added to the variances.
    """
    unit = partial(_unit, conv_bias=conv_bias, epsilon=epsilon)
    filters = FILTERS[stage - 1]
    outputs = filters * (EXPANSION if bottleneck else 1)
    for index in range(1, blocks[stage - 1] + 1):
        place = f"stage{stage}_block{index}"
        step, wide = (strides, dilations[0]) if index == 1 else (1, dilations[1])
        shortcut = x
        if index == 1 and (step > 1 or x.shape[-1] != outputs):
            shortcut = unit(x, outputs, 1, strides=step, relu=False, name=f"{place}_shortcut")
        if bottleneck:
            first, second = (step, 1) if stride_in == "1x1" else (1, step)
            inner = filters * width
            x = unit(x, inner, 1, strides=first, name=f"{place}_conv1")
            x = unit(x, inner, 3, strides=second, dilation=wide, name=f"{place}_conv2")
            x = unit(x, outputs, 1, relu=False, name=f"{place}_conv3")
        else:
            x = unit(x, filters, 3, strides=step, dilation=wide, name=f"{place}_conv1")
            x = unit(x, filters, 3, relu=False, dilation=wide, name=f"{place}_conv2")
        x = layers.Add(name=f"{place}_add")([shortcut, x])
        x = layers.ReLU(name=f"{place}_relu")(x)
    return x


def _unit(
    x: KerasTensor,
    filters: int,
    size: int,
    *,
    name: str,
    conv_bias: bool,
    epsilon: float,
    strides: int = 1,
    dilation: int = 1,
    relu: bool = True,
) -> KerasTensor:
    x = conv(x, filters, size, name=name, strides=strides, dilation=dilation, use_bias=conv_bias)
    return norm(x, name=f"{name}_bn", relu=f"{name}_relu" if relu else "", epsilon=epsilon)
