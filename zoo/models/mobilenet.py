"""MobileNet: depthwise separable convolutions.

Source: Howard et al. 2017, MobileNets: efficient convolutional neural networks for mobile vision
applications, arXiv:1704.04861, table 1, whose last stride of 2 is a slip: its map stays 7x7. The
resolution multiplier is the size of the input. Differs, as does the authors' code: ReLU6 in place
of ReLU. Epsilon, and the zeros below and at the right of a map before a strided depthwise
convolution, are those of `keras.applications`. Kernels are He-normal.
4,231,976 trainable parameters at 224x224x3.
"""

from __future__ import annotations

import math

import keras
from keras import KerasTensor, layers

# Maps and stride of each depthwise separable convolution: table 1 from the second row on.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *5 * ((512, 1),),
    (1024, 2),
    (1024, 1),
)


def mobilenet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    alpha: float = 1.0,
    dropout: float = 0.001,
) -> keras.Model:
    """Returns a MobileNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 31.
        num_classes: Length of the output.
        alpha: Width multiplier: share of the paper's maps that each layer has, rounded down, at
            least 1/32. The paper uses 1, 0.75, 0.5 and 0.25.
        dropout: Fraction of the last features dropped in training, in [0, 1).

    Raises:
        ValueError: `alpha` leaves a layer without maps.
    """
    if 32 * alpha < 1:
        raise ValueError(f"mobilenet: alpha got {alpha}; expected at least 1/32, e.g. 0.25.")
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(
        int(32 * alpha),
        3,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name="conv1",
    )(image)
    x = _bn_relu6(x, "conv1")
    for index, (filters, strides) in enumerate(BLOCKS, start=1):
        x = _separable(x, int(filters * alpha), strides, f"block{index}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (batch, 1024 * alpha)
    x = layers.Dropout(dropout, name="pool_drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _separable(x: KerasTensor, filters: int, strides: int, place: str) -> KerasTensor:
    """A 3x3 kernel for each map, then a 1x1 convolution that mixes the maps."""
    if strides > 1:
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{place}_pad")(x)
    x = layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="valid" if strides > 1 else "same",
        use_bias=False,
        # He's variance: a unit has nine inputs. `he_normal` would count every map of the input.
        depthwise_initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2 / 9)),
        name=f"{place}_depthwise",
    )(x)
    x = _bn_relu6(x, f"{place}_depthwise")
    x = layers.Conv2D(
        filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{place}_pointwise"
    )(x)
    return _bn_relu6(x, f"{place}_pointwise")


def _bn_relu6(x: KerasTensor, place: str) -> KerasTensor:
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{place}_bn")(x)
    return layers.ReLU(max_value=6.0, name=f"{place}_relu6")(x)
