"""LeNet-5, and the LeNet of Caffe.

Source: LeCun et al. 1998, Gradient-based learning applied to document recognition, Proc. IEEE
86(11), section II-B, fig. 2; the layers carry the paper's names. Differs, as is usual today: C3
sees all maps of S2 (the paper's table I leaves some out); S2 and S4 average without a trained
coefficient; tanh is not scaled; the logits of a softmax replace the radial basis functions.
61,706 parameters at 32x32x1 (the paper's 60,000, more of C3, and the logits).
`caffe_lenet` is the larger net that Caffe ships (Jia et al. 2014, arXiv:1408.5093,
`examples/mnist/lenet.prototxt`) and that Han et al. 2015 prune as LeNet-5. Differs: He-normal
kernels. 431,080 parameters at 28x28x1.
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


def caffe_lenet(*, name: str, input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Returns Caffe's LeNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 13.
        num_classes: Length of the output.
    """
    x = image = keras.Input(input_shape, name="image")  # shapes below: at 28x28x1
    for index, filters in enumerate((20, 50), start=1):
        # No activation follows: the maximum and the ReLU of `fc1` are the only bends.
        x = layers.Conv2D(filters, 5, kernel_initializer="he_normal", name=f"conv{index}")(x)
        # Caffe rounds up, so an odd side keeps its last row: `same` padding.
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{index}")(x)  # (batch, 12, 12, 20)
    x = layers.Flatten(name="flatten")(x)  # (batch, 4 * 4 * 50)
    x = layers.Dense(500, "relu", kernel_initializer="he_normal", name="fc1")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
