"""MobileNetV2.

Source: Sandler, Howard, Zhu, Zhmoginov & Chen 2018, MobileNetV2: inverted residuals and linear
bottlenecks, arXiv:1801.04381, table 2. Differs: this is torchvision's form, so that its weights
fit: a convolution that strides pads alike on all sides (Keras' own net pads more at the end),
epsilon is 1e-5, dropout 0.2 stands before the logits; He-normal kernels.
3,504,872 parameters at 224x224x3.
"""

from __future__ import annotations

import keras
from keras import layers

from zoo.models.inverted import Form, divisible, inverted_residual, unit

FORM = Form(symmetric=True, epsilon=1e-5, momentum=0.9)
# Table 2: expansion, maps, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    dropout: float = 0.2,
) -> keras.Model:
    """Returns MobileNetV2: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Length of the output.
        width: Factor of the maps everywhere, above 0; each number is rounded to a multiple of 8.
            The last convolution has never fewer than 1,280.
        dropout: Fraction dropped before the logits in training, in [0, 1).

    Raises:
        ValueError: `width` is not above 0.
    """
    if width <= 0:
        raise ValueError(f"mobilenet_v2: width got {width}; expected a number above 0.")
    image = keras.Input(input_shape, name="image")  # shapes below: at 224x224
    x = unit(image, divisible(32 * width), 3, FORM, strides=2, name="stem_conv")
    for stage, (expansion, filters, depth, first) in enumerate(STAGES, start=1):
        for index in range(1, depth + 1):
            strides = first if index == 1 else 1
            place = f"stage{stage}_block{index}"
            x = inverted_residual(
                x, divisible(filters * width), 3, expansion, strides, FORM, name=place
            )
    x = unit(x, divisible(1280 * max(1.0, width)), 1, FORM, name="head_conv")  # (batch, 7, 7, 1280)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (batch, 1280)
    x = layers.Dropout(dropout, name="drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
