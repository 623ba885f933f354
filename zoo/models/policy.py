"""Networks of agents: what is seen, a row of numbers or pictures, to a value of each action.

Sources: Mnih et al. 2016, arXiv:1602.01783 (an actor and a critic), at the size of the control
tasks of Schulman et al. 2017, arXiv:1707.06347, section 6.1: two hidden layers of 64 tanh units,
nothing shared; Mnih et al. 2015, Nature 518 (one network that tells the value of every action),
its convolutions where pictures are seen; Wang et al. 2016, arXiv:1511.06581
(dueling; equation 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import keras
from keras import layers, ops
from keras.initializers import Orthogonal

TAKES_ROWS = True
CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # of Mnih et al. 2015: filters, side, stride


def actor_critic(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    units: Sequence[int],
    convolutions: Sequence[tuple[int, int, int]] = CONVOLUTIONS,
) -> dict[str, keras.Model]:
    """Returns the networks `policy` and `value`, which share nothing.

    Args:
        name: Name of the row; the networks are `NAME_policy` and `NAME_value`.
        input_shape: (features,); or (side, side, pictures), pixels from 0 to 255.
        num_classes: Number of actions.
        units: Units of each hidden layer, of both.
        convolutions: Of pictures, before these: filters, pixels of a kernel's side, and stride.

    Returns:
        `policy`: (batch, features) to `logits` (batch, actions); `value`: (batch, features) to
        `value` (batch, 1), the sum of discounted rewards to come.
    """

    def network(part: str, output: str, size: int, gain: float) -> keras.Model:
        features = keras.Input(input_shape, name="features")
        x = _seen(features, convolutions, of=name)
        for index, width in enumerate(units, start=1):
            bent = Orthogonal(gain=sqrt(2))
            x = layers.Dense(width, "tanh", kernel_initializer=bent, name=f"hidden{index}")(x)
        # A small gain: at first all actions are about as likely.
        last = layers.Dense(size, kernel_initializer=Orthogonal(gain=gain), name=output)
        return keras.Model(features, last(x), name=f"{name}_{part}")

    return {
        "policy": network("policy", "logits", num_classes, 0.01),
        "value": network("value", "value", 1, 1.0),
    }


def q_network(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    units: Sequence[int],
    dueling: bool = False,
    convolutions: Sequence[tuple[int, int, int]] = CONVOLUTIONS,
) -> keras.Model:
    """Returns a network of action values: (batch, features) to `values` (batch, actions).

    Args:
        name: Name of the model.
        input_shape: (features,); or (side, side, pictures), pixels from 0 to 255.
        num_classes: Number of actions.
        units: Units of each hidden layer.
        dueling: Whether a value is that of the state and what the action adds to the mean of all,
            each behind a half of the last hidden layer.
        convolutions: See `actor_critic`.
    """
    features = keras.Input(input_shape, name="features")
    x = _seen(features, convolutions, of=name)
    for index, width in enumerate(units, start=1):
        place = f"hidden{index}"
        x = layers.Dense(width, "relu", kernel_initializer="he_normal", name=place)(x)
    if not dueling:
        return keras.Model(features, layers.Dense(num_classes, name="values")(x), name=name)
    half = units[-1] // 2
    state = layers.Dense(1, name="state")(x[:, :half])  # (batch, 1)
    added = layers.Dense(num_classes, name="added")(x[:, half:])  # (batch, actions)
    values = state + added - ops.mean(added, axis=1, keepdims=True)
    values = layers.Activation("linear", name="values")(values)
    return keras.Model(features, values, name=name)


def _seen(features: Any, convolutions: Sequence[tuple[int, int, int]], *, of: str) -> Any:
    """What the hidden layers read: a row as it is, pictures behind convolutions, flat."""
    if len(features.shape) == 2:
        return features
    x = layers.Rescaling(1 / 255, name="unit_pixels")(features)
    for index, (filters, kernel, stride) in enumerate(convolutions, start=1):
        if kernel > x.shape[1]:
            raise ValueError(
                f"{of}: pictures of {features.shape[1]} pixels are {x.shape[1]} wide at conv{index}"
                f", whose kernel has {kernel}; expected a larger environment.pixels.side, or other "
                "settings.convolutions, [[filters, side, stride], ...]."
            )
        x = layers.Conv2D(
            filters, kernel, stride, activation="relu", kernel_initializer="he_normal",
            name=f"conv{index}",
        )(x)  # fmt: skip
    return layers.Flatten(name="flatten")(x)
