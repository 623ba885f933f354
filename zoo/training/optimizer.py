"""Builds the optimizer of a recipe: Keras' own, with warm-up, decay and the usual exemptions."""

from __future__ import annotations

import keras

from zoo.recipe import Optimizer


def build(settings: Optimizer, *, steps: int) -> keras.optimizers.Optimizer:
    """Returns a Keras optimizer.

    Clipping is left to the trainer: Keras clips on each device before the gradients are summed.

    Args:
        settings: The recipe's optimizer.
        steps: Number of steps of the whole training.
    """
    rate = _schedule(settings, steps)
    decay = settings.weight_decay or None
    match settings.kind:
        case "adamw":
            optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
        case "adam":
            optimizer = keras.optimizers.Adam(rate, weight_decay=decay)
        case "sgd":
            optimizer = keras.optimizers.SGD(rate, settings.momentum, weight_decay=decay)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _schedule(settings: Optimizer, steps: int) -> float | keras.optimizers.schedules.CosineDecay:
    if settings.schedule == "constant" and not settings.warmup:
        return settings.learning_rate  # a plain number, which callbacks can change
    warmup = round(settings.warmup * steps)
    # With alpha=1 the cosine stays at its top: a constant rate after the warm-up.
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        decay_steps=max(1, steps - warmup),
        alpha=0.0 if settings.schedule == "cosine" else 1.0,
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
