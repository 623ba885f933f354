"""Autoencoders: perceptrons of any depth, with tied weights or without, and convolutions.

Sources: Vincent et al. 2008, ICML 25, section 2 (one logistic hidden layer, W' = W^T); Hinton &
Salakhutdinov 2006, Science 313 (784-1000-500-250-30 and back). Differs: the paper's hidden layers
are logistic and learn after a pretraining by Boltzmann machines; `deep_autoencoder` has rectified
ones of He's variance, which need none. Its code is linear, as there. The code of
`denoising_autoencoder` is rectified: a linear classifier makes more of it than of a logistic one.
Counted by hand, of 784 pixels:

    autoencoder         784 * 500 + 500 and 500 * 784 + 784                            785,284
    contractive         784 * 1000 + 1000 + 784, tied                                  785,784
    denoising           784 * 2000 + 2000 + 784, tied                                1,570,784
    deep                784 * 1000 + 1000 + 1000 * 500 + 500 + 500 * 250 + 250 + 250 * 30 + 30
                        30 * 250 + 250 + 250 * 500 + 500 + 500 * 1000 + 1000 + 1000 * 784 + 784
                        1,418,280 and 1,419,034                                      2,837,314
    conv_autoencoder    9 * 32 + 32 + 9 * 32 * 32 + 32 + 9 * 32 * 8 + 8
                        16 * 8 * 32 + 32 + 16 * 32 * 32 + 32 + 9 * 32 + 1               32,713
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from zoo.layers import TiedDense

HALVINGS = 2  # of the convolutional one's sides


def autoencoder(
    *,
    name: str,
    input_shape: tuple[int, ...],
    units: Sequence[int] = (500,),
    activation: str = "sigmoid",
    code: str = "sigmoid",
    tied: bool = False,
) -> dict[str, keras.Model]:
    """Returns the two networks of an autoencoder of dense layers.

    `encoder`: an image (batch, height, width, channels) to its `code` (batch, units[-1]).
    `decoder`: a code to `numbers` (batch, height, width, channels), one for each pixel, without an
    activation. Tied networks share their layers.

    Args:
        name: Name of the architecture; it opens an error line.
        input_shape: (height, width, channels).
        units: Units of each layer of the encoder; the decoder has them in the reverse order.
        activation: Of the hidden layers.
        code: Activation of the code.
        tied: Whether each layer of the decoder has the kernel of the encoder's, transposed.

    Raises:
        ValueError: There is no layer, or two layers in a row are of one size and tied.
    """
    if not units:
        raise ValueError(f"create({name!r}): units got none; expected one number or more.")
    sizes = [math.prod(input_shape), *units]
    last = len(units)
    ends = [*[activation] * (last - 1), code]
    names = [*(f"hidden{step}" for step in range(1, last)), "code"]
    shared = []
    if tied:
        shared = [
            TiedDense(*pair, name=f"tied{step}")
            for step, pair in enumerate(itertools.pairwise(sizes), start=1)
        ]

    image = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    for step in range(last):
        if tied:
            x = layers.Activation(ends[step], name=names[step])(shared[step](x))
        else:
            x = layers.Dense(sizes[step + 1], name=names[step], **_start(ends[step]))(x)
    encoder = keras.Model(image, x, name="encoder")

    x = given = keras.Input((units[-1],), name="code")
    for step in reversed(range(last)):
        kind = activation if step else "linear"
        if tied:
            x = shared[step](x)
            x = layers.Activation(kind, name=f"back{step}")(x) if step else x
        else:
            place = f"back{step}" if step else "pixels"
            x = layers.Dense(sizes[step], name=place, **_start(kind))(x)
    numbers = layers.Reshape(input_shape, name="numbers")(x)
    return {"encoder": encoder, "decoder": keras.Model(given, numbers, name="decoder")}


def conv_autoencoder(
    *, name: str, input_shape: tuple[int, ...], width: int = 32, code: int = 8
) -> dict[str, keras.Model]:
    """Returns the two networks of an autoencoder of convolutions alone.

    `encoder`: an image (batch, height, width, channels) to its `code` (batch, height / 4, width /
    4, code). `decoder`: a code to `numbers` (batch, height, width, channels), one for each pixel.

    Args:
        name: Name of the architecture; it opens an error line.
        input_shape: (height, width, channels); sides that are multiples of 4.
        width: Channels of the hidden maps.
        code: Channels of the code.

    Raises:
        ValueError: The sides cannot be halved twice.
    """
    times = 2**HALVINGS
    if input_shape[0] % times or input_shape[1] % times:
        near = max(input_shape[:2]) // times * times
        raise ValueError(
            f"create({name!r}): input_shape got {input_shape}; expected sides that are multiples "
            f"of {times}, for {HALVINGS} halvings. Take data.size={max(near, times)}."
        )
    x = image = keras.Input(input_shape, name="image")
    for step in range(1, HALVINGS + 1):
        x = layers.Conv2D(width, 3, 2, padding="same", name=f"down{step}", **_start("relu"))(x)
    x = layers.Conv2D(code, 3, padding="same", name="code")(x)
    encoder = keras.Model(image, x, name="encoder")

    x = given = keras.Input(x.shape[1:], name="code")
    for step in range(1, HALVINGS + 1):
        x = layers.Conv2DTranspose(width, 4, 2, padding="same", name=f"up{step}", **_start("relu"))(
            x
        )
    numbers = layers.Conv2D(input_shape[-1], 3, padding="same", name="numbers")(x)
    return {"encoder": encoder, "decoder": keras.Model(given, numbers, name="decoder")}


def _start(activation: str) -> dict[str, Any]:
    """An activation, and the kernel that carries a signal through it."""
    kernel = "he_normal" if activation == "relu" else "glorot_uniform"
    return {"activation": activation, "kernel_initializer": kernel}
