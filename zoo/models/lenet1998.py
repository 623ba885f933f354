"""LeNet-5 as it was published.

Source: LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document
recognition, Proc. IEEE 86(11), section II-B, fig. 2, table I; the layers carry the paper's names.
S2 and S4 have a trained coefficient and bias for each map, C3 sees the maps of table I, tanh is
scaled, and the output is the distance to a code of each class. Differs: the output is minus the
distance, so the nearest class has the largest one; trained by cross-entropy, the output layer adds
what makes it the paper's equation 9, with a j of 10 where the paper names none. The codes of the
digits are drawn by us on the paper's 7x12 places, those of other numbers of classes are random
signs. Fresh weights have a variance of 1 / inputs (LeCun, Bottou, Orr & Mueller 1998, Efficient
backprop, section 4.6), not the paper's limit of 2.4 / inputs, with which F6 starts at a deviation
of 0.01. A larger image makes C5 a map, as in the paper, and F6 then sees all of it. The paper's
background is -0.1 and its ink 1.175.
60,000 trainable parameters at 32x32x1: 156 + 12 + 1,516 + 32 + 48,120 + 10,164.
"""

from __future__ import annotations

import keras
from keras import layers

from zoo.layers.connection_table import TableConv2D
from zoo.layers.lenet_parts import ScaledTanh, Subsampling2D
from zoo.layers.rbf import RBFOutput

# Table I: the maps of S2 that each map of C3 sees.
TABLE = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),  # 3 in a row
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),  # 4 in a row
    *((i, i + 1, (i + 3) % 6, (i + 4) % 6) for i in range(3)),  # 2 and 2
    tuple(range(6)),
)

RUBBISH = 10.0  # equation 9's j: how far from every code an example may be before that costs


def lenet5_1998(*, name: str, input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Returns LeNet-5: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 32.
        num_classes: Length of the output; 10 classes are taken for the digits in their order.
    """
    image = keras.Input(input_shape, name="image")  # shapes below: at the paper's 32x32x1
    x = layers.Conv2D(6, 5, kernel_initializer="lecun_normal", name="c1")(
        image
    )  # (batch, 28, 28, 6)
    x = ScaledTanh(name="c1_tanh")(x)
    x = Subsampling2D(2, name="s2")(x)  # (batch, 14, 14, 6)
    x = ScaledTanh(name="s2_tanh")(x)
    x = TableConv2D(TABLE, 5, name="c3")(x)  # (batch, 10, 10, 16)
    x = ScaledTanh(name="c3_tanh")(x)
    x = Subsampling2D(2, name="s4")(x)  # (batch, 5, 5, 16)
    x = ScaledTanh(name="s4_tanh")(x)
    x = layers.Conv2D(120, 5, kernel_initializer="lecun_normal", name="c5")(x)  # (batch, 1, 1, 120)
    x = ScaledTanh(name="c5_tanh")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(84, kernel_initializer="lecun_normal", name="f6")(x)
    x = ScaledTanh(name="f6_tanh")(x)
    codes = "digits" if num_classes == 10 else "random"
    head = RBFOutput(num_classes, codes=codes, rubbish=RUBBISH, dtype="float32", name="logits")
    logits = head(x)
    return keras.Model(image, logits, name=name)
