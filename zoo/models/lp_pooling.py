"""The house-number net with Lp pooling and features of two stages.

Source: Sermanet, Chintala & LeCun 2012, Convolutional neural networks applied to house numbers
digit classification, arXiv:1204.3968; what its text leaves open is as in the authors'
configuration, `demos/svhn/svhn.conf` of eblearn: p = 4, pooling of 2x2 after both stages and of 5x5
with stride 3 for the first stage's way around the second, and the second convolution connected at
random, with 2 to 5 of the 16 maps for each of its 512 (1,792 connections, drawn anew here).
Differs: the first convolution sees all channels (theirs, over YUV, has 32 of the 48 connections);
the Gaussians of the pooling stand in the middle of their windows; the logits of a softmax in place
of a tanh for a squared error. Their pictures are YUV with a normalised local contrast.
258,726 parameters at 32x32x3: 1,216 + 88,320 + 168,980 + 210.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from zoo.layers.connection_table import TableConv2D
from zoo.layers.lp_pooling import LPPooling2D
from zoo.layers.subtractive import SubtractiveNormalization2D

FIRST, SECOND, HIDDEN = 16, 512, 20


def lp_pooling(
    *, name: str, input_shape: tuple[int, ...], num_classes: int, p: float = 4.0
) -> keras.Model:
    """Returns the net: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 20.
        num_classes: Length of the output.
        p: Power of all poolings, at least 1; the paper compares 1, 2, 4, 8, 12 and infinity.
    """
    image = keras.Input(input_shape, name="image")  # shapes below: at 32x32x3
    x = layers.Conv2D(FIRST, 5, activation="tanh", name="stage1_conv")(image)  # (batch, 28, 28, 16)
    x = LPPooling2D(2, p, weighting="gaussian", name="stage1_pool")(x)  # (batch, 14, 14, 16)
    first = SubtractiveNormalization2D(5, name="stage1_norm")(x)
    x = TableConv2D(table(), 7, name="stage2_conv")(first)  # (batch, 8, 8, 512)
    x = layers.Activation("tanh", name="stage2_tanh")(x)
    x = LPPooling2D(2, p, weighting="gaussian", name="stage2_pool")(x)  # (batch, 4, 4, 512)
    second = SubtractiveNormalization2D(7, name="stage2_norm")(x)
    around = LPPooling2D(5, p, strides=3, weighting="gaussian", name="around_pool")(first)
    around = SubtractiveNormalization2D(5, name="around_norm")(around)  # (batch, 4, 4, 16)
    x = layers.Concatenate(name="features")(
        [layers.Flatten(name="stage2_flat")(second), layers.Flatten(name="around_flat")(around)]
    )  # (batch, 8448)
    x = layers.Dense(HIDDEN, activation="tanh", name="hidden")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def table() -> list[list[int]]:
    """Returns which maps of the first stage each of the second sees: 128 each see 2, 3, 4 and 5."""
    random = np.random.RandomState(0)
    sizes = random.permutation(np.repeat([2, 3, 4, 5], SECOND // 4))
    return [sorted(random.permutation(FIRST)[:size].tolist()) for size in sizes]
