"""ResNet-50, -101 and -152 with pre-activation.

Source: He, Zhang, Ren & Sun 2016, Identity mappings in deep residual networks, arXiv:1603.05027,
fig. 4e: normalisation and ReLU stand before the convolutions, so a shortcut carries its input
unchanged. As the paper says, the first block takes the activation of the stem before it splits, and
one more activation follows the last block. Differs: a bottleneck strides in its 3x3; `slim` is the
form of TF-Slim and of `keras.applications`.
25,549,352 parameters for ResNet-50 v2 at 224x224x3.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from zoo.models.parts import conv, norm

FILTERS = (64, 128, 256, 512)  # of the 3x3 convolutions in each stage
EXPANSION = 4  # a block gives four times as many maps as its 3x3


def resnet_v2(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    blocks: Sequence[int],
    slim: bool = False,
    epsilon: float = 1e-5,
) -> keras.Model:
    """Returns a ResNet v2: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Length of the output.
        blocks: Bottlenecks in each of the four stages.
        slim: Whether the last block of a stage halves the maps instead of the next stage's first,
            the first block has an activation of its own behind the stem's pooling, and the
            convolutions without a normalisation behind them have biases.
        epsilon: Added to the variances; `keras.applications` has 1.001e-5.

    Raises:
        ValueError: `blocks` is not four numbers.
    """
    if len(blocks) != len(FILTERS):
        raise ValueError(
            f"resnet_v2: blocks got {blocks!r}; expected {len(FILTERS)} numbers, one a stage."
        )
    image = keras.Input(input_shape, name="image")  # shapes below: at 224x224
    x = conv(image, 64, 7, strides=2, use_bias=slim, name="stem_conv")  # (batch, 112, 112, 64)
    if not slim:
        x = norm(x, name="stem_bn", relu="stem_relu", epsilon=epsilon)
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)  # (batch, 56, 56, 64)
    for stage, (depth, filters) in enumerate(zip(blocks, FILTERS, strict=True), start=1):
        for index in range(1, depth + 1):
            place = f"stage{stage}_block{index}"
            halves = (stage < 4 and index == depth) if slim else (stage > 1 and index == 1)
            strides = 2 if halves else 1
            active = x
            if slim or (stage, index) != (1, 1):
                active = norm(x, name=f"{place}_bn1", relu=f"{place}_relu1", epsilon=epsilon)
            if index == 1:
                x = conv(
                    active,
                    filters * EXPANSION,
                    1,
                    strides=strides,
                    use_bias=slim,
                    name=f"{place}_shortcut",
                )
            elif strides > 1:
                x = layers.MaxPooling2D(1, strides=strides, name=f"{place}_shortcut")(x)
            y = conv(active, filters, 1, name=f"{place}_conv1")
            y = norm(y, name=f"{place}_bn2", relu=f"{place}_relu2", epsilon=epsilon)
            y = conv(y, filters, 3, strides=strides, name=f"{place}_conv2")
            y = norm(y, name=f"{place}_bn3", relu=f"{place}_relu3", epsilon=epsilon)
            y = conv(y, filters * EXPANSION, 1, use_bias=slim, name=f"{place}_conv3")
            x = layers.Add(name=f"{place}_add")([x, y])
    x = norm(x, name="final_bn", relu="final_relu", epsilon=epsilon)  # (batch, 7, 7, 2048)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (batch, 2048)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
