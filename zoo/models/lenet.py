"""LeNet-5.

Source: LeCun et al. 1998, Gradient-based learning applied to document recognition, Proc. IEEE
86(11), section II-B, fig. 2; the layers carry the paper's names. Differs, as is usual today: C3
sees all maps of S2 (the paper's table I leaves some out); S2 and S4 average without a trained
coefficient; tanh is not scaled; the logits of a softmax replace the radial basis functions.
61,706 parameters at 32x32x1 (the paper's 60,000, more of C3, and the logits).
Not the larger net of the same name that Caffe ships and Han et al. 2015 prune (20 and 50 maps,
500 units, 431,080 parameters).
"""

from __future__ import annotations

import keras
from keras import layers


def lenet5(*, name: str, input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Returns LeNet-5: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 16.
        num_classes: Length of the output.
    """
    image = keras.Input(input_shape, name="image")  # shapes below: at the paper's 32x32x1
    x = layers.Conv2D(6, 5, activation="tanh", name="c1")(image)  # (batch, 28, 28, 6)
    x = layers.AveragePooling2D(2, name="s2")(x)  # (batch, 14, 14, 6)
    x = layers.Conv2D(16, 5, activation="tanh", name="c3")(x)  # (batch, 10, 10, 16)
    x = layers.AveragePooling2D(2, name="s4")(x)  # (batch, 5, 5, 16)
    x = layers.Flatten(name="flatten")(x)  # (batch, 400)
    x = layers.Dense(120, activation="tanh", name="c5")(x)  # a 5x5 convolution of a 5x5 map
    x = layers.Dense(84, activation="tanh", name="f6")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
