"""Wide residual networks for CIFAR: WRN-16-4, 16-8, 28-10 and 40-4.

Source: Zagoruyko & Komodakis 2016, Wide residual networks, arXiv:1605.07146, table 1, blocks B(3,3)
with pre-activation, and dropout between the convolutions (section 2.4). Where the shape changes,
the shortcut is a 1x1 convolution of the activated input, as in the authors' code.
Differs: nothing. WRN-50-2 is in `zoo.models.resnet`.
36,479,194 parameters for WRN-28-10 at 32x32x3 and 10 classes.
"""

from __future__ import annotations

import keras
from keras import layers

from zoo.models.parts import conv, norm

FILTERS = (16, 32, 64)  # of the convolutions in each stage, before `width`


def wide_resnet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int,
    width: int,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a wide ResNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Length of the output.
        depth: Convolutions on the longest way, and the last layer: 6n + 4, n blocks in each stage.
        width: Factor of the maps of a plain ResNet: k.
        dropout: Fraction dropped between the convolutions of a block in training, in [0, 1); the
            paper has 0.3.

    Raises:
        ValueError: `depth` is not 6n + 4, or `width` is below 1.
    """
    blocks, rest = divmod(depth - 4, 6)
    if blocks < 1 or rest:
        raise ValueError(f"wide_resnet: depth got {depth}; expected 6n + 4, e.g. 16 or 28.")
    if width < 1:
        raise ValueError(f"wide_resnet: width got {width}; expected an integer of at least 1.")
    image = keras.Input(input_shape, name="image")  # shapes below: at 32x32
    x = conv(image, FILTERS[0], 3, name="stem_conv")  # (batch, 32, 32, 16)
    for stage, filters in enumerate((width * narrow for narrow in FILTERS), start=1):
        for index in range(1, blocks + 1):
            place = f"stage{stage}_block{index}"
            strides = 2 if stage > 1 and index == 1 else 1
            active = norm(x, name=f"{place}_bn1", relu=f"{place}_relu1")
            if x.shape[-1] != filters:
                x = conv(active, filters, 1, strides=strides, name=f"{place}_shortcut")
            y = conv(active, filters, 3, strides=strides, name=f"{place}_conv1")
            y = norm(y, name=f"{place}_bn2", relu=f"{place}_relu2")
            if dropout:
                y = layers.Dropout(dropout, name=f"{place}_drop")(y)
            y = conv(y, filters, 3, name=f"{place}_conv2")
            x = layers.Add(name=f"{place}_add")([x, y])
    x = norm(x, name="final_bn", relu="final_relu")  # (batch, 8, 8, 64 * width)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
