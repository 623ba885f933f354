"""The ResNets for CIFAR: 20, 32, 44, 56, 110 and 1202 layers; pre-activation; stochastic depth.

Source: He, Zhang, Ren & Sun 2015, arXiv:1512.03385, section 4.2: shortcuts without parameters
(option A). Pre-activation: He et al. 2016, arXiv:1603.05027, fig. 4e; the first block takes the
activation of the stem before it splits. Stochastic depth: Huang, Sun, Liu, Sedra & Weinberger 2016,
arXiv:1603.09382: block l of L is kept with probability 1 - l/L * (1 - survival).
Differs: a dropped block is multiplied by 0, which saves no time.
269,722 parameters for ResNet-20 at 32x32x3.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from zoo.layers.stochastic_depth import StochasticDepth
from zoo.models.parts import conv, norm

FILTERS = (16, 32, 64)  # of the convolutions in each stage


def resnet_cifar(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int,
    preactivation: bool = False,
    survival: float = 1.0,
) -> keras.Model:
    """Returns a small ResNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Length of the output.
        depth: Layers with weights, 6n + 2: n blocks of two convolutions in each of three stages.
        preactivation: Whether normalisation and ReLU stand before each convolution.
        survival: Probability that training keeps the last block, in (0, 1].

    Raises:
        ValueError: `depth` is not 6n + 2, or `survival` is not in (0, 1].
    """
    blocks, rest = divmod(depth - 2, 6)
    if blocks < 1 or rest:
        raise ValueError(f"resnet_cifar: depth got {depth}; expected 6n + 2, e.g. 20 or 56.")
    if not 0 < survival <= 1:
        raise ValueError(f"resnet_cifar: survival got {survival}; expected a number in (0, 1].")
    image = keras.Input(input_shape, name="image")  # shapes below: at 32x32
    x = conv(image, FILTERS[0], 3, name="stem_conv")  # (batch, 32, 32, 16)
    x = norm(x, name="stem_conv_bn", relu="stem_conv_relu")
    count, total = 0, len(FILTERS) * blocks
    for stage, filters in enumerate(FILTERS, start=1):
        for index in range(1, blocks + 1):
            count += 1
            place = f"stage{stage}_block{index}"
            strides = 2 if stage > 1 and index == 1 else 1
            if preactivation:
                y = _preactivated(x, filters, strides, place, first=count == 1)
            else:
                y = _plain(x, filters, strides, place)
            if survival < 1:
                keep = 1 - (1 - survival) * count / total
                y = StochasticDepth(keep, name=f"{place}_depth")(y)
            x = layers.Add(name=f"{place}_add")([_shortcut(x, strides, place), y])
            if not preactivation:
                x = layers.ReLU(name=f"{place}_relu")(x)
    if preactivation:
        x = norm(x, name="final_bn", relu="final_relu")
    x = layers.GlobalAveragePooling2D(name="pool")(x)  # (batch, 64)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _plain(x: KerasTensor, filters: int, strides: int, place: str) -> KerasTensor:
    x = conv(x, filters, 3, strides=strides, name=f"{place}_conv1")
    x = norm(x, name=f"{place}_conv1_bn", relu=f"{place}_conv1_relu")
    x = conv(x, filters, 3, name=f"{place}_conv2")
    return norm(x, name=f"{place}_conv2_bn")


def _preactivated(
    x: KerasTensor, filters: int, strides: int, place: str, *, first: bool
) -> KerasTensor:
    if not first:  # the stem has activated it already
        x = norm(x, name=f"{place}_bn1", relu=f"{place}_relu1")
    x = conv(x, filters, 3, strides=strides, name=f"{place}_conv1")
    x = norm(x, name=f"{place}_bn2", relu=f"{place}_relu2")
    return conv(x, filters, 3, name=f"{place}_conv2")


def _shortcut(x: KerasTensor, strides: int, place: str) -> KerasTensor:
    """Option A: every second pixel, and as many channels of zeros behind those that there are."""
    if strides == 1:
        return x
    x = layers.MaxPooling2D(1, strides=strides, name=f"{place}_subsample")(x)
    zeros = layers.Rescaling(0.0, name=f"{place}_zeros")(x)
    return layers.Concatenate(name=f"{place}_shortcut")([x, zeros])
