"""The variational autoencoder with perceptrons of one hidden layer, and with convolutions.

Source: Kingma & Welling 2013, Auto-encoding variational Bayes, arXiv:1312.6114, appendix C: tanh
in the hidden layers, a Gaussian code with a diagonal covariance, Bernoulli pixels; section 5: 500
hidden units for MNIST. Differs: Glorot-uniform kernels (the paper draws all weights from N(0,
0.01)); 20 dimensions of the code, one of the five sizes that the paper tries.
784-500-20 has 784 * 500 + 500 and 2 (500 * 20 + 20) parameters in the encoder, 20 * 500 + 500 and
500 * 784 + 784 in the decoder: 815,824.

Conditional networks read the class too (Kingma et al. 2014, arXiv:1406.5298, the model M2 with the
class always given; Sohn et al. 2015, NIPS 28): each of both hidden layers has 500 more weights for
each class, 10,000 for ten: 825,824.

`conv_vae` is of this zoo: the same code, by strided convolutions as in `zoo.models.dcgan`, with
biases and without normalisation. With 16 weights in a kernel, of digits of 28x28:

    encoder    16 * 32 + 32 + 16 * 32 * 64 + 64 + 49 * 64 * 256 + 256 + 2 (256 * 20 + 20)
    decoder    20 * 256 + 256 + 256 * 49 * 64 + 49 * 64 + 16 * 64 * 32 + 32 + 16 * 32 + 1

846,728 and 844,641 parameters.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

KERNEL = 4  # a multiple of the stride: every pixel is reached by equally many weights


def vae(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int = 1,
    hidden: int = 500,
    latent: int = 20,
    conditional: bool = False,
) -> dict[str, keras.Model]:
    """Returns the two networks of a VAE.

    `encoder`: an image (batch, height, width, channels) to the code's `mean` and `log_variance`,
    each (batch, latent). `decoder`: a code (batch, latent) to the logits of the pixels (batch,
    height, width, channels). Conditional ones also read `label` (batch, classes), one-hot.

    Args:
        name: Name of the architecture; it opens an error line.
        input_shape: (height, width, channels).
        num_classes: Number of classes, of conditional networks.
        hidden: Units of each hidden layer.
        latent: Dimensions of the code.
        conditional: Whether both networks read the class.

    Raises:
        ValueError: Conditional networks have less than two classes.
    """
    classes = _classes(name, num_classes, conditional=conditional)
    image = keras.Input(input_shape, name="image")
    x, label = _beside(layers.Flatten(name="flatten")(image), classes)
    x = layers.Dense(hidden, "tanh", name="encoder_hidden")(x)
    encoder = _model(image, label, _code(x, latent), "encoder")

    code = keras.Input((latent,), name="code")
    x, label = _beside(code, classes)
    x = layers.Dense(hidden, "tanh", name="decoder_hidden")(x)
    x = layers.Dense(math.prod(input_shape), name="pixels")(x)
    logits = layers.Reshape(input_shape, name="logits")(x)
    return {"encoder": encoder, "decoder": _model(code, label, logits, "decoder")}


def conv_vae(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int = 1,
    widths: tuple[int, ...] = (32, 64),
    units: int = 256,
    latent: int = 20,
    conditional: bool = False,
) -> dict[str, keras.Model]:
    """Returns the two networks of a VAE of convolutions, see `vae`.

    Args:
        name: Name of the architecture; it opens an error line.
        input_shape: (height, width, channels); sides that halve as often as there are widths.
        num_classes: Number of classes, of conditional networks.
        widths: Channels of the maps, from the largest on; each halves the sides.
        units: Units between the smallest maps and the code.
        latent: Dimensions of the code.
        conditional: Whether both networks read the class.

    Raises:
        ValueError: The sides cannot be halved so often, or conditional networks have less than two
            classes.
    """
    height, width, channels = input_shape
    times = 2 ** len(widths)
    if not widths or height % times or width % times:
        near = max(height, times) // times * times
        raise ValueError(
            f"create({name!r}): input_shape got {input_shape}; expected sides that are multiples"
            f" of {times}, for widths {widths}. Take data.size={near}."
        )
    classes = _classes(name, num_classes, conditional=conditional)
    x = image = keras.Input(input_shape, name="image")
    for step, filters in enumerate(widths, start=1):
        x = layers.Conv2D(filters, name=f"down{step}", **_halving("relu"))(x)
    x, label = _beside(layers.Flatten(name="flatten")(x), classes)
    x = layers.Dense(units, "relu", name="encoder_hidden")(x)
    encoder = _model(image, label, _code(x, latent), "encoder")

    smallest = (height // times, width // times, widths[-1])
    code = keras.Input((latent,), name="code")
    x, label = _beside(code, classes)
    x = layers.Dense(units, "relu", name="decoder_hidden")(x)
    x = layers.Dense(math.prod(smallest), "relu", name="project")(x)
    x = layers.Reshape(smallest, name="reshape")(x)
    for step, filters in enumerate(widths[-2::-1], start=1):
        x = layers.Conv2DTranspose(filters, name=f"up{step}", **_halving("relu"))(x)
    logits = layers.Conv2DTranspose(channels, name="logits", **_halving(None))(x)
    return {"encoder": encoder, "decoder": _model(code, label, logits, "decoder")}


def _classes(name: str, num_classes: int, *, conditional: bool) -> int:
    """The number of classes that networks read, 0 for none.

    Raises:
        ValueError: There is nothing to tell apart.
    """
    if conditional and num_classes < 2:
        raise ValueError(
            f"create({name!r}): conditional: got data of one class, or of none; expected two "
            "classes or more. Drop settings.conditional, or take other data."
        )
    return num_classes if conditional else 0


def _beside(x: Any, classes: int) -> tuple[Any, list[Any]]:
    """Features with those of the class behind them, and its input; neither without classes."""
    if not classes:
        return x, []
    label = keras.Input((classes,), name="label")
    return layers.Concatenate(name="with_label")([x, label]), [label]


def _model(given: Any, label: list[Any], outputs: Any, name: str) -> keras.Model:
    return keras.Model([given, *label] if label else given, outputs, name=name)


def _code(x: Any, latent: int) -> dict[str, Any]:
    """The two ends of an encoder."""
    return {name: layers.Dense(latent, name=name)(x) for name in ("mean", "log_variance")}


def _halving(activation: str | None) -> dict[str, Any]:
    """What all convolutions share: they halve or double the sides."""
    return {
        "kernel_size": KERNEL,
        "strides": 2,
        "padding": "same",
        "kernel_initializer": "he_normal" if activation else "glorot_uniform",
        "activation": activation,
    }
