"""Transfer learning: first the head alone, then the top of the network, in one run.

Source: Yosinski et al. 2014, arXiv:1411.1792. Each phase has an optimizer of its own, so that the
warm-up starts again. What is frozen computes as in inference: batch normalisation uses its stored
statistics and keeps them, and nothing is dropped.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import keras

from zoo.recipe import Optimizer, Train


@dataclass(frozen=True)
class Phase:
    """Epochs that share an optimizer.

    Attributes:
        first: Number of the first epoch, from 0.
        last: Number of the epoch that follows the last one.
        optimizer: How a gradient becomes a step.
        unfreeze: Share of the layers with weights, from the head down, that learn; 0 for the head
            alone.
    """

    first: int
    last: int
    optimizer: Optimizer
    unfreeze: float

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return self.last - self.first


def phases(settings: Train) -> list[Phase]:
    """Returns the phases of a training, in order."""
    transfer, optimizer = settings.transfer, settings.optimizer
    start = transfer.frozen_epochs
    main = Phase(start, settings.epochs, optimizer, transfer.unfreeze)
    if not start:
        return [main]
    changes = {"learning_rate": transfer.head_learning_rate, "schedule": "constant"}
    return [Phase(0, start, optimizer.model_copy(update=changes), 0.0), main]


def freeze(model: keras.Model, unfreeze: float) -> list[keras.layers.Layer]:
    """Lets the top of a model learn and freezes the rest, in place; returns what it froze.

    Args:
        model: Functional.
        unfreeze: Share of the layers with weights that learn, rounded to at least one; 0 for the
            head alone, which is the layer `logits`, or else the last one.
    """
    everything = [layer for layer in leaves(model) if layer.trainable]
    weighted = [layer for layer in everything if layer.trainable_weights]
    learning = weighted[-max(1, round(unfreeze * len(weighted))) :]
    if not unfreeze:
        learning = [layer for layer in weighted if layer.name == "logits"] or weighted[-1:]
    still = [i for i, layer in enumerate(everything) if layer in weighted and layer not in learning]
    # A layer without weights is frozen with the ones that follow it.
    frozen = [layer for layer in everything[: max(still, default=-1) + 1] if layer not in learning]
    for layer in frozen:
        layer.trainable = False
        _infer_always(layer)
    return frozen


def thaw(layers: list[keras.layers.Layer]) -> None:
    """Undoes `freeze`.

    Args:
        layers: What it froze.
    """
    for layer in layers:
        layer.trainable = True
        vars(layer).pop("call", None)


def leaves(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers that hold no others, from the inputs to the outputs."""
    layers = []
    for layer in model.layers:
        layers += leaves(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


def _infer_always(layer: keras.layers.Layer) -> None:
    """Makes a layer compute as in inference, e.g. a dropout between two frozen layers."""
    if "training" not in inspect.signature(layer.call).parameters:
        return
    usual = layer.call

    def call(*inputs: Any, training: bool | None = None, **others: Any) -> Any:
        return usual(*inputs, training=False, **others)

    layer.call = call
