"""Perceptrons that play the adversarial game, for pictures and for points of a plane.

Source: Goodfellow et al. 2014, arXiv:1406.2661, section 5; sizes as in the authors' `mnist.yaml`
for pylearn2: ReLU in the generator, maxout of 5 pieces and dropout in the discriminator, which
gives a logit here. A critic (Gulrajani et al. 2017, arXiv:1704.00028) has the same, unless told
`pieces=1`, leaky ReLU, and `dropout=0`, as in the rows of the catalogue. Differs: Glorot-uniform
kernels (theirs uniform in +-0.05 and +-0.005); a tanh in place of the sigmoid, and normal noise in
place of uniform.

    generator      100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784 = 2,503,984
    discriminator  784 * 1200 + 1200 +  240 * 1200 + 1200 +  240 + 1         = 1,231,441

3,735,425 parameters at 28x28. Of points of the plane, `gan_ring` has 16 * 128 + 128 + 128 * 128 +
128 + 128 * 2 + 2 = 18,946 and 2 * 128 + 128 + 128 * 128 + 128 + 128 + 1 = 17,025.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from zoo.layers.maxout import Maxout

TAKES_ROWS = True  # of a table too


def gan(
    *,
    name: str,
    input_shape: tuple[int, ...],
    units: Sequence[int] = (1200, 1200),
    latent: int = 100,
    pieces: int = 5,
    dropout: float = 0.5,
    critic: bool = False,
) -> dict[str, keras.Model]:
    """Returns the two networks of a GAN.

    `generator`: noise (batch, latent) to an image in [-1, 1], or to a row as it is. `discriminator`
    or `critic`: an image or a row to its logit or score (batch, 1).

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (height, width, channels), or (features,).
        units: Sums of each hidden layer, of the generator and of its opponent.
        latent: Numbers in the noise.
        pieces: Sums of which a hidden unit of the opponent is the largest; of 1, leaky ReLU.
        dropout: Fraction of the opponent's hidden units dropped in training, in [0, 1).
        critic: Whether the opponent is the critic of a Wasserstein GAN.
    """
    noise = keras.Input((latent,), name="noise")
    x = noise
    for index, width in enumerate(units, start=1):
        x = layers.Dense(width, "relu", name=f"generator_hidden{index}")(x)
    image = len(input_shape) == 3
    sums = layers.Dense(math.prod(input_shape), "tanh" if image else None, name="values")(x)
    made = layers.Reshape(input_shape, name="image")(sums) if image else sums
    other = "critic" if critic else "discriminator"
    options: dict[str, Any] = {"pieces": pieces, "dropout": dropout, "name": other}
    return {
        "generator": keras.Model(noise, made, name="generator"),
        other: _opponent(input_shape, units, **options),
    }


def _opponent(
    input_shape: tuple[int, ...], units: Sequence[int], *, pieces: int, dropout: float, name: str
) -> keras.Model:
    """From an image or a row to a logit, or a score."""
    given = keras.Input(input_shape, name="image" if len(input_shape) == 3 else "features")
    x = layers.Flatten(name="flatten")(given)  # (batch, values)
    for index, width in enumerate(units, start=1):
        place = f"hidden{index}"
        x = layers.Dense(width, name=f"{place}_sums")(x)
        bend = Maxout(pieces, name=place) if pieces > 1 else layers.LeakyReLU(0.2, name=place)
        x = bend(x)  # (batch, width / pieces)
        if dropout:
            x = layers.Dropout(dropout, name=f"{place}_drop")(x)
    return keras.Model(given, layers.Dense(1, name="logit")(x), name=name)
