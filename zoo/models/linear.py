"""Linear classifier: one weighted sum of the pixels for each class.

Source: LeCun et al. 1998, Gradient-based learning applied to document recognition, Proc. IEEE
86(11), section III-C: 7,850 parameters on MNIST. Differs: the sums are the logits of a softmax
(multinomial logistic regression); the paper takes the largest sum.
"""

from __future__ import annotations

import keras
from keras import layers


def linear(*, name: str, input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Returns softmax regression on the pixels: (batch, height, width, channels) to logits."""
    image = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(image)  # (batch, height * width * channels)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
