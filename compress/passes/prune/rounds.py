"""Pruning in rounds, with the surviving weights trained on, or wound back to earlier values.

Sources: Han et al. 2015, arXiv:1506.02626 (prune, retrain, repeat); Frankle & Carbin 2019, The
lottery ticket hypothesis, arXiv:1803.03635: each round prunes the same share of what is left, and
the survivors go back to their initial values; Frankle et al. 2020, arXiv:1903.01611: in large nets
to those of an early epoch.
Differs: the output layer is pruned like the others; Frankle & Carbin prune it at half the rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from compress.base import Context
from compress.graph import leaf_layers
from compress.graph.kernels import find_kernels
from compress.passes.prune.masks import Kernels, Structure, prune_kernels


def prune_in_rounds(
    model: keras.Model,
    kernels: Kernels,
    context: Context,
    *,
    structure: Structure,
    sparsities: Sequence[float],
    rewind: bool | str,
    epochs: int,
) -> str:
    """Prunes a model in place, round by round; returns a line that says how.

    A round prunes at once, winds back, and trains. A model that is itself what the weights go back
    to is trained before the first round too, or there would be nothing to rank them by.

    Args:
        model: Functional or Sequential.
        kernels: The model's kernels to prune, as `find_prunable` gives them.
        context: Has the `fit`.
        structure: Structure of the zeros.
        sparsities: Fraction of the weights that are zero after each round, in [0, 1).
        rewind: What the weights go back to, see `Prune`.
        epochs: Epochs of each training.

    Raises:
        FileNotFoundError: There is no such file to go back to.
        ValueError: Its weights have other shapes than the model's.
    """
    early = _early_weights(model, rewind)
    if rewind is True:
        context.fine_tune(model, epochs=epochs)
    for sparsity in sparsities:
        prune_kernels(kernels, structure, sparsity)
        if early:
            _rewind(model, early)
        text = context.fine_tune(model, epochs=epochs)
    path = "the input" if rewind is True else rewind
    back = f", weights back to those of {path}" if early else ""
    return f"sparsity {', '.join(f'{s:.4g}' for s in sparsities)}{back}; after each {text}"


def prune_in_steps(
    model: keras.Model,
    kernels: Kernels,
    context: Context,
    *,
    structure: Structure,
    sparsities: Sequence[float],
    epochs: int,
) -> str:
    """Prunes a model in place between trainings that share the epochs; returns a line on it.

    Args:
        model: Functional or Sequential.
        kernels: The model's kernels to prune, as `find_prunable` gives them.
        context: Has the `fit`.
        structure: Structure of the zeros.
        sparsities: Fraction of the weights that are zero in each training, in [0, 1).
        epochs: Epochs of all trainings; no fewer than there are `sparsities`.
    """
    count = len(sparsities)
    for turn, sparsity in enumerate(sparsities):
        prune_kernels(kernels, structure, sparsity)
        share = epochs * (turn + 1) // count - epochs * turn // count
        context.fine_tune(model, epochs=share)
    steps = ", ".join(f"{sparsity:.4g}" for sparsity in sparsities)
    return f"pruned between trainings to {steps}, {epochs} epochs more"


def _early_weights(model: keras.Model, rewind: bool | str) -> list[np.ndarray]:
    """The weights to go back to; none where the rounds go on from what they have."""
    if rewind is False:
        return []
    if rewind is True:
        return [ops.convert_to_numpy(weight) for weight in model.weights]
    if not Path(rewind).is_file():
        raise FileNotFoundError(f"Prune.rewind: {rewind}: not found; expected a .keras file.")
    saved = keras.saving.load_model(rewind, compile=False)
    if [weight.shape for weight in saved.weights] != [weight.shape for weight in model.weights]:
        raise ValueError(
            f"Prune.rewind: {rewind}: its weights have other shapes than the model's; "
            "expected the same net at an earlier time."
        )
    return [ops.convert_to_numpy(weight) for weight in saved.weights]


def _rewind(model: keras.Model, early: list[np.ndarray]) -> None:
    """Sets all weights back but frozen ones; kernels keep their zeros, of earlier passes too."""
    kernels, _ = find_kernels(dict(leaf_layers(model)), depthwise=True)
    masked = {id(kernel.variable) for kernel in kernels.values()}
    still = {
        id(weight)
        for _, layer in leaf_layers(model)
        if not layer.trainable
        for weight in layer.weights
    }
    for weight, value in zip(model.weights, early, strict=True):
        if id(weight) in still:
            continue
        kept = ops.convert_to_numpy(weight) != 0
        weight.assign(np.where(kept, value, 0) if id(weight) in masked else value)
