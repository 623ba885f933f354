"""The maxout network for CIFAR-10.

Source: Goodfellow, Warde-Farley, Mirza, Courville & Bengio 2013, Maxout networks, arXiv:1302.4389,
section 5.2; sizes as in the authors' `scripts/papers/maxout/cifar10.yaml` of pylearn2. Its pooling
windows may hang over the edge. Differs: kernels are normal with a variance of 0.5 / inputs, in
place of uniform in +-0.005; what dropout keeps of the image is scaled up, as elsewhere. The bound
on the norm of each unit's weights (0.9 of the first layer, about 1.9 of the others) is a setting of
the recipe, one for all layers. The authors' images are contrast-normalised and ZCA-whitened.
16,247,830 parameters at 32x32x3: 37,056 + 2,359,680 + 1,843,584 + 12,002,500 + 5,010.
"""

from __future__ import annotations

import keras
from keras import layers

from zoo.layers.ceil_pooling import CeilMaxPooling2D
from zoo.layers.maxout import Maxout

# Units, window, padding, and the window of the pooling of stride 2: h0 to h2 of the configuration.
STAGES = ((96, 8, 4, 4), (192, 8, 3, 4), (192, 5, 3, 2))
# A maximum over pieces and places doubles the mean square or more. With He's 2 / inputs the fresh
# logits are 16 times as large as standardised digits, with 0.5 / inputs as large (measured).
KERNELS = {"scale": 0.5, "mode": "fan_in", "distribution": "truncated_normal"}
PIECES, DENSE_UNITS, DENSE_PIECES = 2, 500, 5


def maxout(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    input_dropout: float = 0.2,
    dropout: float = 0.5,
) -> keras.Model:
    """Returns the net: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 10.
        num_classes: Length of the output.
        input_dropout: Fraction of the image's values dropped in training, in [0, 1).
        dropout: Fraction of each later layer's inputs dropped in training, in [0, 1).
    """
    x = image = keras.Input(input_shape, name="image")
    # Maps at 32x32: 33, pooled to 16; 15, pooled to 7; 9, pooled to 5.
    for stage, (units, size, padding, pool) in enumerate(STAGES):
        place = f"h{stage}"
        x = layers.Dropout(dropout if stage else input_dropout, name=f"{place}_drop")(x)
        x = layers.ZeroPadding2D(padding, name=f"{place}_pad")(x)
        start = keras.initializers.VarianceScaling(**KERNELS)
        x = layers.Conv2D(units * PIECES, size, kernel_initializer=start, name=f"{place}_conv")(x)
        x = Maxout(PIECES, name=place)(x)  # (batch, height, width, units)
        x = CeilMaxPooling2D(pool, strides=2, name=f"{place}_pool")(x)
    x = layers.Flatten(name="flatten")(x)  # (batch, 4800)
    x = layers.Dropout(dropout, name="h3_drop")(x)
    start = keras.initializers.VarianceScaling(**KERNELS)
    x = layers.Dense(DENSE_UNITS * DENSE_PIECES, kernel_initializer=start, name="h3_dense")(x)
    x = Maxout(DENSE_PIECES, name="h3")(x)  # (batch, 500)
    x = layers.Dropout(dropout, name="logits_drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
