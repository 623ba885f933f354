"""AlexNet, in its two towers and in one.

Source: Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural
networks, NIPS 25, sections 3 and 4.2, fig. 2. The paper says 224x224; its 55x55 maps need 227.
Differs: one device runs both towers; the response normalisation runs over the maps of both;
He-normal kernels and zero biases (with AdamW at 3e-4, the paper's deviation of 0.01 and biases of 1
learnt nothing from 4,000 digits at 67x67 in three epochs; He's reached 95 %; one seed each).
60,965,224 parameters at 227x227x3.
The single tower is torchvision's reading of Krizhevsky 2014, One weird trick for parallelizing
convolutional neural networks, arXiv:1404.5997: fewer maps, no response normalisation, dropout
before `fc6` and `fc7`. Differs from torchvision: the maps are not averaged to 6x6 before `fc6`. At
224 they are 6x6 already; at another size `fc6` has as many inputs as they have values.
61,100,840 parameters at 224x224x3.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from zoo.layers.lrn import LocalResponseNormalization


def alexnet(
    *, name: str, input_shape: tuple[int, ...], num_classes: int, dropout: float = 0.5
) -> keras.Model:
    """Returns AlexNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 67.
        num_classes: Length of the output.
        dropout: Fraction of the units of `fc6` and `fc7` dropped in training, in [0, 1).
    """
    image = keras.Input(input_shape, name="image")  # shapes below: at the paper's 227x227x3
    x = _conv(96, 11, strides=4, padding="valid", name="stage1_conv")(image)  # (batch, 55, 55, 96)
    x = LocalResponseNormalization(name="stage1_norm")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stage1_pool")(x)  # (batch, 27, 27, 96)
    x = _towers(x, 256, 5, name="stage2_conv")  # (batch, 27, 27, 256)
    x = LocalResponseNormalization(name="stage2_norm")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stage2_pool")(x)  # (batch, 13, 13, 256)
    x = _conv(384, 3, name="stage3_conv")(x)  # (batch, 13, 13, 384): here the towers meet
    x = _towers(x, 384, 3, name="stage4_conv")
    x = _towers(x, 256, 3, name="stage5_conv")  # (batch, 13, 13, 256)
    x = layers.MaxPooling2D(3, strides=2, name="stage5_pool")(x)  # (batch, 6, 6, 256)
    x = layers.Flatten(name="flatten")(x)  # (batch, 9216)
    for place in ("fc6", "fc7"):
        x = layers.Dense(4096, "relu", kernel_initializer="he_normal", name=place)(x)
        x = layers.Dropout(dropout, name=f"{place}_drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def alexnet_one_tower(
    *, name: str, input_shape: tuple[int, ...], num_classes: int, dropout: float = 0.5
) -> keras.Model:
    """Returns the AlexNet of 2014: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 63.
        num_classes: Length of the output.
        dropout: Fraction of the inputs of `fc6` and `fc7` dropped in training, in [0, 1).
    """
    image = keras.Input(input_shape, name="image")  # shapes below: at 224x224x3
    x = layers.ZeroPadding2D(2, name="stage1_pad")(image)
    x = _conv(64, 11, strides=4, padding="valid", name="stage1_conv")(x)  # (batch, 55, 55, 64)
    x = layers.MaxPooling2D(3, strides=2, name="stage1_pool")(x)  # (batch, 27, 27, 64)
    x = _conv(192, 5, name="stage2_conv")(x)  # (batch, 27, 27, 192)
    x = layers.MaxPooling2D(3, strides=2, name="stage2_pool")(x)  # (batch, 13, 13, 192)
    x = _conv(384, 3, name="stage3_conv")(x)
    x = _conv(256, 3, name="stage4_conv")(x)
    x = _conv(256, 3, name="stage5_conv")(x)  # (batch, 13, 13, 256)
    x = layers.MaxPooling2D(3, strides=2, name="stage5_pool")(x)  # (batch, 6, 6, 256)
    x = layers.Flatten(name="flatten")(x)  # (batch, 9216)
    for place in ("fc6", "fc7"):
        x = layers.Dropout(dropout, name=f"{place}_drop")(x)
        x = layers.Dense(4096, "relu", kernel_initializer="he_normal", name=place)(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _conv(
    filters: int, size: int, *, name: str, strides: int = 1, padding: str = "same"
) -> layers.Conv2D:
    return layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )


def _towers(x: KerasTensor, filters: int, size: int, *, name: str) -> KerasTensor:
    """A convolution in two groups: each half of the maps sees its own half of the input.

    Two plain convolutions, because Keras compiles a grouped one with XLA on a CPU, and the ONNX
    exporter then loses it.
    """
    left, right = ops.split(x, 2, axis=-1)
    left = _conv(filters // 2, size, name=f"{name}_a")(left)
    right = _conv(filters // 2, size, name=f"{name}_b")(right)
    return layers.Concatenate(name=name)([left, right])
