"""Multilayer perceptrons, LeNet-300-100 among them.

Sources: Rumelhart, Hinton & Williams 1986, Nature 323; LeCun et al. 1998, Proc. IEEE 86(11),
section III-C (28x28-300-100-10, which Han et al. 2015, arXiv:1506.02626, prune); Ioffe & Szegedy
2015, arXiv:1502.03167 (batch normalisation). Differs: ReLU in place of sigmoid or tanh, the logits
of a softmax in place of outputs for a squared error.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

TAKES_ROWS = True  # of a table too: the input is flattened


def mlp(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    units: Sequence[int],
    batch_norm: bool = False,
) -> keras.Model:
    """Returns a multilayer perceptron: images or a table's rows to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels), or (features,).
        num_classes: Length of the output.
        units: Units of each hidden layer, from the input on.
        batch_norm: Whether a batch normalisation stands between each sum and its ReLU. The dense
            layers keep their bias, so that both forms share their weights by name.
    """
    image = keras.Input(input_shape, name="image" if len(input_shape) == 3 else "features")
    x = layers.Flatten(name="flatten")(image)  # (batch, height * width * channels)
    for index, width in enumerate(units, start=1):
        place = f"hidden{index}"
        x = layers.Dense(width, kernel_initializer="he_normal", name=place)(x)  # (batch, width)
        if batch_norm:
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{place}_bn")(x)
        x = layers.ReLU(name=f"{place}_relu")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
