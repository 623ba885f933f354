"""Builds the optimizer of a recipe: Keras' own, with warm-up, decay and the usual exemptions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from zoo.recipe import Optimizer
from zoo.training.schedules import Rate


def build(settings: Optimizer, *, steps: int) -> keras.optimizers.Optimizer:
    """Returns a Keras optimizer.

    Clipping is left to the trainer: Keras clips on each device before the gradients are summed.

    Args:
        settings: The recipe's optimizer; its kind is not `lbfgs`.
        steps: Number of steps of the whole training.
    """
    fixed = settings.schedule == "constant" and not settings.warmup
    shared: dict[str, Any] = {
        # A plain number, where there is nothing to schedule: callbacks can change it.
        "learning_rate": settings.learning_rate if fixed else Rate(settings, steps),
        "weight_decay": settings.weight_decay or None,
        "use_ema": settings.ema is not None,
        "ema_momentum": settings.ema or 0.0,
    }
    momentum, beta_1 = settings.momentum, settings.beta_1
    match settings.kind:
        case "adamw":
            shared["weight_decay"] = settings.weight_decay  # Keras has a decay of its own
            optimizer = keras.optimizers.AdamW(beta_1=beta_1, **shared)
        case "adam":
            optimizer = keras.optimizers.Adam(beta_1=beta_1, **shared)
        case "sgd":
            nesterov = settings.nesterov
            optimizer = keras.optimizers.SGD(momentum=momentum, nesterov=nesterov, **shared)
        case "adagrad":
            optimizer = keras.optimizers.Adagrad(**shared)
        case "rmsprop":
            optimizer = keras.optimizers.RMSprop(momentum=momentum, **shared)
        case kind:
            raise ValueError(f"optimizer: got {kind}; expected one that takes steps.")
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def clip(settings: Optimizer, gradients: list[Any]) -> list[Any]:
    """Returns the gradients, no larger than the recipe allows.

    Args:
        settings: The recipe's optimizer.
        gradients: Gradients of the whole batch: a clipped sum is not the sum of clipped parts.
    """
    if (largest := settings.clip_value) is not None:
        return [tf.clip_by_value(gradient, -largest, largest) for gradient in gradients]
    if (largest := settings.clip_norm) is not None:
        return [tf.clip_by_norm(gradient, largest) for gradient in gradients]
    if settings.clip_global_norm is not None:
        gradients, _ = tf.clip_by_global_norm(gradients, settings.clip_global_norm)
    return gradients


def clips(settings: Optimizer) -> bool:
    """Whether the recipe bounds the gradients."""
    limits = (settings.clip_value, settings.clip_norm, settings.clip_global_norm)
    return any(limit is not None for limit in limits)


@contextlib.contextmanager
def averaged(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> Iterator[None]:
    """Gives the variables their moving average, where the optimizer keeps one.

    Args:
        optimizer: Has taken at least one step on the variables.
        variables: Have their own values again afterwards.
    """
    if not optimizer.use_ema:
        yield
        return
    own = [keras.ops.convert_to_numpy(variable) for variable in variables]
    average(optimizer, variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)


def average(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Gives the variables their moving average for good, where there is one."""
    if not optimizer.use_ema or optimizer.iterations == 0:
        return
    optimizer.finalize_variable_values(variables)
    for variable in variables:
        if variable.constraint is not None:  # Keras averages before it constrains
            variable.assign(variable.constraint(variable))


def last_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the learning rate of the step that was taken last."""
    rate = optimizer.learning_rate
    if optimizer.iterations > 0 and isinstance(optimizer._learning_rate, Rate):
        rate = optimizer._learning_rate(optimizer.iterations - 1)
    return float(keras.ops.convert_to_numpy(rate))
