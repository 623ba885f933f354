"""EfficientNet-Lite0, -1 and -2: EfficientNets for integer arithmetic on small devices.

Source: Tan & Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks,
arXiv:1905.11946, table 1 and equation 3; the Lite form by its authors, March 2020 (tensorflow/tpu,
models/official/efficientnet/lite): no squeeze-and-excitation, ReLU6 for swish, and neither stem,
first and last stage's depth, nor the last convolution are scaled. Differs: trains without dropping
whole blocks; He-normal kernels, and Keras' start of the logits.
4,652,008 parameters for Lite0 at 224x224x3.
"""

from __future__ import annotations

import math

import keras
from keras import layers

from zoo.models.inverted import Form, divisible, inverted_residual, unit

FORM = Form(symmetric=False, epsilon=1e-3, momentum=0.99)
# Table 1: expansion, maps, blocks, stride of the first block, side of the depthwise kernel.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def efficientnet_lite(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.2,
) -> keras.Model:
    """Returns an EfficientNet-Lite: (batch, height, width, channels) to logits.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Length of the output.
        width: Factor of the maps of the stages, above 0, rounded to multiples of 8.
        depth: Factor of the blocks of the stages but the first and the last, above 0, rounded up.
        dropout: Fraction dropped before the logits in training, in [0, 1).

    Raises:
        ValueError: `width` or `depth` is not above 0.
    """
    if width <= 0 or depth <= 0:
        raise ValueError(
            f"efficientnet_lite: got width {width} and depth {depth}; expected numbers above 0."
        )
    image = keras.Input(input_shape, name="image")  # shapes below: Lite0 at 224x224
    x = unit(image, 32, 3, FORM, strides=2, name="stem_conv")  # (batch, 112, 112, 32)
    for stage, (expansion, filters, blocks, first, size) in enumerate(STAGES, start=1):
        fixed = stage in (1, len(STAGES))
        for index in range(1, (blocks if fixed else math.ceil(depth * blocks)) + 1):
            strides = first if index == 1 else 1
            place = f"stage{stage}_block{index}"
            x = inverted_residual(
                x, divisible(filters * width), size, expansion, strides, FORM, name=place
            )
    x = unit(x, 1280, 1, FORM, name="head_conv")  # (batch, 7, 7, 1280)
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (batch, 1280)
    x = layers.Dropout(dropout, name="drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
