"""Auxiliary heads: outputs after the first, which train the layers below them and then go.

Source: Szegedy et al. 2014, arXiv:1409.4842, section 5. A model answers with its first output; the
loss of each other output is added to the training loss at `train.auxiliary_weight`, nothing is
measured on it, and the bundle's model has it no more.
"""

from __future__ import annotations

from typing import Any

import keras


def answer(outputs: Any) -> Any:
    """Returns the first output, (batch, ...)."""
    return keras.tree.flatten(outputs)[0]


def minimised(task: Any, labels: Any, outputs: Any, weight: float) -> Any:
    """Returns the training loss of each example, (batch,).

    Args:
        task: Has `loss(labels, outputs)`.
        labels: What the task knows of the examples.
        outputs: All outputs of the model.
        weight: Share of each auxiliary head.
    """
    main, *others = keras.tree.flatten(outputs)
    loss = task.loss(labels, main)
    for other in others:
        loss += weight * task.loss(labels, other)
    return loss


def without_auxiliary(model: keras.Model) -> keras.Model:
    """Returns the model with its first output alone; it shares the weights that are left."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.input, model.outputs[0], name=model.name)
