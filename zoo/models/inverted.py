"""The inverted residual: wide inside, narrow between the blocks; what the mobile nets share.

Source: Sandler et al. 2018, arXiv:1801.04381, section 3.3 and fig. 4b. A 1x1 convolution widens, a
depthwise one looks around, a 1x1 without an activation narrows; a shortcut joins the narrow ends.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import KerasTensor, layers


class Form(NamedTuple):
    """How a framework writes the same block.

    Attributes:
        symmetric: Whether a convolution that strides pads alike on all sides, as torch does;
            otherwise more at the end, as TensorFlow does.
        epsilon: Added to the variances.
        momentum: What the moving statistics keep of themselves in a step.
    """

    symmetric: bool
    epsilon: float
    momentum: float


def divisible(filters: float) -> int:
    """Rounds a number of maps to a multiple of 8, and never down by more than a tenth."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def unit(
    x: KerasTensor,
    filters: int | None,
    size: int,
    form: Form,
    *,
    name: str,
    strides: int = 1,
    relu: bool = True,
) -> KerasTensor:
    """A convolution, a normalisation and a ReLU that ends at 6.

    Args:
        x: Maps (batch, height, width, channels).
        filters: Maps of the output; `None` for a depthwise convolution, which keeps them.
        size: Side of the kernel, an odd number.
        form: Padding and statistics.
        name: Name of the convolution; those of the others begin with it.
        strides: What height and width are divided by, rounded up.
        relu: Whether the ReLU is there.
    """
    padding = "same"
    if form.symmetric and strides > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    if filters is None:
        # A map of a depthwise kernel (height, width, maps, 1) has height * width inputs: the
        # fan-out. A new object for each layer, or all would draw the same numbers.
        he = keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
        x = layers.DepthwiseConv2D(
            size,
            strides=strides,
            padding=padding,
            use_bias=False,
            depthwise_initializer=he,
            name=name,
        )(x)
    else:
        x = layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer="he_normal",
            name=name,
        )(x)
    x = layers.BatchNormalization(momentum=form.momentum, epsilon=form.epsilon, name=f"{name}_bn")(
        x
    )
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def inverted_residual(
    x: KerasTensor, filters: int, size: int, expansion: int, strides: int, form: Form, *, name: str
) -> KerasTensor:
    """One block; the shortcut is there where the shape stays.

    Args:
        x: Maps (batch, height, width, channels).
        filters: Maps of the output.
        size: Side of the depthwise kernel.
        expansion: How many times as many maps are inside; 1 has no convolution that widens.
        strides: What height and width are divided by, rounded up.
        form: Padding and statistics.
        name: What the names of the layers begin with.
    """
    y, narrow = x, x.shape[-1]
    if expansion != 1:
        y = unit(y, narrow * expansion, 1, form, name=f"{name}_expand")
    y = unit(y, None, size, form, strides=strides, name=f"{name}_depthwise")
    y = unit(y, filters, 1, form, relu=False, name=f"{name}_project")
    if strides == 1 and narrow == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y
