"""The variational autoencoder with perceptrons of one hidden layer.

Source: Kingma & Welling 2013, Auto-encoding variational Bayes, arXiv:1312.6114, appendix C: tanh
in the hidden layers, a Gaussian code with a diagonal covariance, Bernoulli pixels; section 5: 500
hidden units for MNIST. Differs: Glorot-uniform kernels (the paper draws all weights from N(0,
0.01)); 20 dimensions of the code, one of the five sizes that the paper tries.
784-500-20 has 784 * 500 + 500 and 2 (500 * 20 + 20) parameters in the encoder, 20 * 500 + 500 and
500 * 784 + 784 in the decoder: 815,824.
"""

from __future__ import annotations

import math

import keras
from keras import layers


def vae(
    *, name: str, input_shape: tuple[int, ...], hidden: int = 500, latent: int = 20
) -> dict[str, keras.Model]:
    """Returns the two networks of a VAE.

    `encoder`: an image (batch, height, width, channels) to the code's `mean` and `log_variance`,
    each (batch, latent). `decoder`: a code (batch, latent) to the logits of the pixels (batch,
    height, width, channels).

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (height, width, channels).
        hidden: Units of each hidden layer.
        latent: Dimensions of the code.
    """
    image = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    x = layers.Dense(hidden, "tanh", name="encoder_hidden")(x)
    mean = layers.Dense(latent, name="mean")(x)
    log_variance = layers.Dense(latent, name="log_variance")(x)
    encoder = keras.Model(image, {"mean": mean, "log_variance": log_variance}, name="encoder")

    code = keras.Input((latent,), name="code")
    x = layers.Dense(hidden, "tanh", name="decoder_hidden")(code)
    x = layers.Dense(math.prod(input_shape), name="pixels")(x)
    logits = layers.Reshape(input_shape, name="logits")(x)
    decoder = keras.Model(code, logits, name="decoder")
    return {"encoder": encoder, "decoder": decoder}
