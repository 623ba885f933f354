"""Restricted Boltzmann machines, deep belief networks of them, and convolutional ones.

Sources: Salakhutdinov & Murray 2008, ICML (784 visible and 500 hidden units); Hinton, Osindero &
Teh 2006, Neural Computation 18(7), figure 1 (784-500-500-2000 and 10 classes); Lee, Grosse,
Ranganath & Ng 2009, ICML (convolutions with probabilistic max-pooling). Differs: the classes stand
on top of the deep belief network, as of a perceptron, and not beside its last but one layer;
Glorot's kernels in it, so that it can learn from scratch too; the pools are normalised before they
are classified.

`rbm` has 784 * 500 weights, 500 and 784 biases: 393,284. `dbn` has those of the perceptron, 784 *
500 + 500, 500 * 500 + 500, 500 * 2000 + 2000 and 2000 * 10 + 10, and 784 + 500 + 500 biases of the
way down: 1,666,794. `cdbn`, on 28x28, has 40 bases of 11x11, and 40 of 4x4 on the 40 maps of 9x9:
121 * 40 + 40 + 1, 16 * 40 * 40 + 40 + 40, and (9 * 9 * 40 + 3 * 3 * 40) * 10 + 10: 66,571.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import keras
from keras import layers

from zoo.layers import Chains, ProbabilisticMaxPooling2D, VisibleMaps, VisibleUnits


def rbm(
    *,
    name: str,
    input_shape: tuple[int, ...],
    hidden: int = 500,
    visible: Literal["binary", "gaussian"] = "binary",
    chains: int = 100,
) -> dict[str, keras.Model]:
    """Returns the networks of a restricted Boltzmann machine.

    `recognition`: an image (batch, height, width, channels) to the probabilities of the hidden
    units (batch, hidden). `generative`: their states (batch, hidden) to the means of the pixels.
    `chains`: the chain of each example, 1 at it and 0 elsewhere (batch, chains), to the states of
    the hidden units in it.

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (height, width, channels).
        hidden: Number of hidden units.
        visible: Whether pixels are 0 or 1, or normal with variance 1.
        chains: Number of chains that persist; a step takes as many examples at most.
    """
    image = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    kernel = keras.initializers.RandomNormal(stddev=0.01)
    x = layers.Dense(hidden, "sigmoid", kernel_initializer=kernel, name="hidden1")(x)
    recognition = keras.Model(image, x, name="recognition")

    code = keras.Input((hidden,), name="code")
    activation = "sigmoid" if visible == "binary" else None
    x = VisibleUnits(math.prod(input_shape), activation=activation, name="visible1")(code)
    x = layers.Reshape(input_shape, name="pixels")(x)
    generative = keras.Model(code, x, name="generative")

    place = keras.Input((chains,), name="place")
    memory = keras.Model(place, Chains(hidden, name="chains")(place), name="chains")
    return {"recognition": recognition, "generative": generative, "chains": memory}


def dbn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    units: Sequence[int] = (500, 500, 2000),
) -> dict[str, keras.Model]:
    """Returns the networks of a deep belief network.

    `recognition`: an image (batch, height, width, channels) to the probabilities of the uppermost
    units. `head`: these to logits (batch, num_classes). `generative`: the states of the uppermost
    units to the probabilities of the pixels.

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (height, width, channels).
        num_classes: Length of the logits.
        units: Units of each hidden layer, from the image on.
    """
    image = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    for number, width in enumerate(units, start=1):
        x = layers.Dense(width, "sigmoid", name=f"hidden{number}")(x)
    recognition = keras.Model(image, x, name="recognition")

    x = code = keras.Input((units[-1],), name="code")
    below = [math.prod(input_shape), *units[:-1]]
    for number in range(len(units), 0, -1):
        x = VisibleUnits(below[number - 1], name=f"visible{number}")(x)
    x = layers.Reshape(input_shape, name="pixels")(x)
    generative = keras.Model(code, x, name="generative")
    return {
        "recognition": recognition,
        "head": _head(units[-1], num_classes),
        "generative": generative,
    }


def cdbn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    bases: Sequence[int] = (40, 40),
    sizes: Sequence[int] = (11, 4),
    pool: int = 2,
) -> dict[str, keras.Model]:
    """Returns the networks of a convolutional deep belief network.

    `recognition`: an image (batch, height, width, channels) to the probabilities of the pools of
    all layers (batch, features). `head`: these to the scores of the classes (batch, num_classes).
    `generative`: the states of the uppermost units, before they are pooled, to the probabilities of
    the pixels; a unit that is on stands anywhere in its pool.

    Args:
        name: Name of the architecture; it opens an error line.
        input_shape: (height, width, channels).
        num_classes: Length of the scores.
        bases: Maps of each layer, from the image on.
        sizes: Sides of the kernels of each layer.
        pool: Side of a pool.

    Raises:
        ValueError: A layer has no whole number of pools.
    """
    image = keras.Input(input_shape, name="image")
    x, pools, side = image, [], input_shape[:2]
    for number, (maps, size) in enumerate(zip(bases, sizes, strict=True), start=1):
        side = tuple(one - size + 1 for one in side)
        if min(side) < 1 or any(one % pool for one in side):
            raise ValueError(
                f"create({name!r}): input_shape got {input_shape}; layer {number} would have maps "
                f"of {side[0]}x{side[1]}, and pools of {pool}x{pool} do not fill them. Take other "
                "`sizes`, or data.size."
            )
        kernel = keras.initializers.RandomNormal(stddev=0.01)
        x = layers.Conv2D(maps, size, kernel_initializer=kernel, name=f"detect{number}")(x)
        x = ProbabilisticMaxPooling2D(pool, name=f"hidden{number}")(x)
        pools.append(layers.Flatten(name=f"flatten{number}")(x))
        side = tuple(one // pool for one in side)
    features = layers.Concatenate(name="features")(pools) if len(pools) > 1 else pools[0]
    recognition = keras.Model(image, features, name="recognition")

    x = code = keras.Input((side[0] * pool, side[1] * pool, bases[-1]), name="code")
    below = [input_shape[2], *bases[:-1]]
    for number in range(len(bases), 0, -1):
        x = VisibleMaps(below[number - 1], sizes[number - 1], name=f"visible{number}")(x)
        if number > 1:
            x = layers.UpSampling2D(pool, name=f"unpool{number - 1}")(x)
            x = layers.Rescaling(1 / pool**2, name=f"spread{number - 1}")(x)
    generative = keras.Model(code, x, name="generative")
    return {
        "recognition": recognition,
        "head": _head(features.shape[-1], num_classes, normalised=True),
        "generative": generative,
    }


def _head(features: int, num_classes: int, *, normalised: bool = False) -> keras.Model:
    """From features, of mean 0 and deviation 1 if they are normalised, to logits."""
    x = inputs = keras.Input((features,), name="features")
    if normalised:
        x = layers.BatchNormalization(momentum=0.9, center=False, scale=False, name="normalised")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="head")
