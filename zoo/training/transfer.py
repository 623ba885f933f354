"""Transfer learning: first the head alone, then the top of the network, in one run.

Source: Yosinski et al. 2014, arXiv:1411.1792. Each phase has an optimizer of its own, so that the
warm-up starts again. What is frozen computes as in inference: batch normalisation uses its stored
statistics and keeps them, and nothing is dropped.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import keras

from compress.graph import leaf_layers
from zoo.common.settings import nearest
from zoo.models.trunk import LAYER
from zoo.recipe import Optimizer, Phase, Train
from zoo.tasks.task import Objective


@dataclass(frozen=True)
class Epochs:
    """Epochs that share optimizers.

    Attributes:
        first: Number of the first epoch, from 0.
        last: Number of the epoch that follows the last one.
        objectives: What takes turns.
        optimizers: How a gradient becomes a step, by name of the objective.
        unfreeze: Share of the layers with weights, from the head down, that learn; 0 for the head
            alone.
    """

    first: int
    last: int
    objectives: tuple[Objective, ...]
    optimizers: Mapping[str, Optimizer]
    unfreeze: float

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return self.last - self.first

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the first objective."""
        return self.optimizers[self.objectives[0].name]


def phases(settings: Train, objectives: Sequence[Objective]) -> list[Epochs]:
    """Returns the phases of a training, in order.

    Args:
        settings: The recipe's.
        objectives: The task's objectives.

    Raises:
        ValueError: A setting names an objective that the task lacks.
    """
    names = [objective.name for objective in objectives]
    asked = [*settings.optimizers, *(name for one in settings.phases for name in one.objectives)]
    for name in asked:
        if name not in names:
            raise ValueError(
                f"train: got an optimizer or a phase for {name!r}; expected an objective of the "
                f"task. {nearest(name, names)}"
            )

    def made(first: int, part: Phase) -> Epochs:
        chosen = [o for o in objectives if not part.objectives or o.name in part.objectives]
        usual = {one.name: settings.optimizer_of(one.name) for one in chosen}
        changed = {
            name: Optimizer(**{**one.model_dump(), **part.optimizer}) for name, one in usual.items()
        }
        return Epochs(first, first + part.epochs, tuple(chosen), changed, part.unfreeze)

    if settings.phases:
        starts = accumulate((part.epochs for part in settings.phases), initial=0)
        return [made(first, part) for first, part in zip(starts, settings.phases, strict=False)]
    transfer = settings.transfer
    start = transfer.frozen_epochs
    main = made(start, Phase(epochs=settings.epochs - start, unfreeze=transfer.unfreeze))
    if not start:
        return [main]
    changes = {"learning_rate": transfer.head_learning_rate, "schedule": "constant"}
    return [replace(made(0, Phase(epochs=start, optimizer=changes)), unfreeze=0.0), main]


def loss_names(objectives: Sequence[Objective]) -> dict[str, str]:
    """Returns the name of each objective's loss in the history."""
    if len(objectives) == 1:
        return {objectives[0].name: "loss"}
    return {objective.name: f"{objective.name}_loss" for objective in objectives}


def freeze(model: keras.Model, unfreeze: float) -> list[keras.layers.Layer]:
    """Lets the top of a model learn and freezes the rest, in place; returns what it froze.

    Args:
        model: Functional.
        unfreeze: Share of the layers with weights that learn, rounded to at least one; 0 for the
            head alone, which is the layer `logits`, or else the last one. Of a network that
            answers for places of a picture, all but its trunk learns in any case.
    """
    everything = [layer for _, layer in leaf_layers(model) if layer.trainable]
    weighted = [layer for layer in everything if layer.trainable_weights]
    learning = weighted[-max(1, round(unfreeze * len(weighted))) :]
    placed = any(len(tensor.shape) > 2 for tensor in model.outputs)
    apart = [layer for layer in weighted if not LAYER.fullmatch(layer.name)] if placed else []
    if 0 < len(apart) < len(weighted):
        learning = [*apart, *(learning if unfreeze else [])]
    elif not unfreeze:
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


def _infer_always(layer: keras.layers.Layer) -> None:
    """Makes a layer compute as in inference, e.g. a dropout between two frozen layers."""
    if "training" not in inspect.signature(layer.call).parameters:
        return
    usual = layer.call

    def call(*inputs: Any, training: bool | None = None, **others: Any) -> Any:
        return usual(*inputs, training=False, **others)

    layer.call = call
