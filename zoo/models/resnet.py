"""ResNet-18, -34, -50, -101 and -152, and the wide ResNet-50-2.

Source: He, Zhang, Ren & Sun 2015, Deep residual learning for image recognition, arXiv:1512.03385,
table 1, with projections where the shape changes (option B). WRN-50-2: Zagoruyko & Komodakis 2016,
arXiv:1605.07146, section 3, whose inner 3x3 is twice as wide. Differs: settings for the form of
torchvision ("v1.5": a bottleneck strides in its 3x3) and for that of Keras (biases, epsilon).
25,557,032 parameters for ResNet-50 at 224x224x3; the two forms have equally many.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    Raises:
        ValueError: `blocks` is not four numbers, `stride_in` is unknown, or `width` is not 1 and
            there are no bottlenecks.
    """
    if len(blocks) != len(FILTERS):
        raise ValueError(
            f"resnet: blocks got {blocks!r}; expected {len(FILTERS)} numbers, one a stage."
        )
    if stride_in not in STRIDING:
        raise ValueError(f"resnet: stride_in got {stride_in!r}; expected one of {STRIDING}.")
    if width != 1 and not bottleneck:
        raise ValueError(f"resnet: width got {width}; expected 1, or bottleneck=True with it.")

    def unit(
        x: KerasTensor, filters: int, size: int, *, name: str, strides: int = 1, relu: bool = True
    ) -> KerasTensor:
        x = conv(x, filters, size, name=name, strides=strides, use_bias=conv_bias)
        return norm(x, name=f"{name}_bn", relu=f"{name}_relu" if relu else "", epsilon=epsilon)

    image = keras.Input(input_shape, name="image")  # shapes below: at 224x224
    x = unit(image, 64, 7, strides=2, name="stem_conv")  # (batch, 112, 112, 64)
    # After a ReLU the zeros of the padding are never the largest.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)  # (batch, 56, 56, 64)
    for stage, (depth, filters) in enumerate(zip(blocks, FILTERS, strict=True), start=1):
        for index in range(1, depth + 1):
            place = f"stage{stage}_block{index}"
            strides = 2 if stage > 1 and index == 1 else 1
            outputs = filters * (EXPANSION if bottleneck else 1)
            shortcut = x
            if index == 1 and (strides > 1 or x.shape[-1] != outputs):
                shortcut = unit(
                    x, outputs, 1, strides=strides, relu=False, name=f"{place}_shortcut"
                )
            if bottleneck:
                first, second = (strides, 1) if stride_in == "1x1" else (1, strides)
                inner = filters * width
                x = unit(x, inner, 1, strides=first, name=f"{place}_conv1")
                x = unit(x, inner, 3, strides=second, name=f"{place}_conv2")
                x = unit(x, outputs, 1, relu=False, name=f"{place}_conv3")
            else:
                x = unit(x, filters, 3, strides=strides, name=f"{place}_conv1")
                x = unit(x, filters, 3, relu=False, name=f"{place}_conv2")
            x = layers.Add(name=f"{place}_add")([shortcut, x])
            x = layers.ReLU(name=f"{place}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (batch, 512), or 2048 with bottlenecks
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
