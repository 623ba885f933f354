"""Kinds of learning: what is minimised, what is measured, what is drawn.

`choose` picks the task of a recipe on a data set: one module for each kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.data.dataset import DataSet
    from zoo.recipe import Train
    from zoo.tasks.task import Task

__all__ = ["choose"]


def choose(train: Train, data: DataSet) -> Task:
    """Returns what a recipe asks to be learnt from a data set.

    Args:
        train: Its `loss` names a loss; `auto` is the cross-entropy for classes and the squared
            error for numbers.
        data: Its labels are classes or numbers.

    Raises:
        ValueError: The loss does not fit the data, or cannot smooth labels.
    """
    from zoo import losses

    usual = "mse" if data.target == "number" else "cross_entropy"
    loss = losses.find_trainable(usual if train.loss == "auto" else train.loss)
    has = f"{data.name} has {len(data.labels) or 'no'} classes"
    if (loss.target == "number") != (data.target == "number"):
        raise ValueError(
            f"train.loss: got {loss.name!r}, a loss of {_PLURAL[loss.target]}; {has}, and its "
            f"labels are {_PLURAL[data.target]}. Take {usual}."
        )
    if loss.target == "binary" and len(data.labels) != 2:
        raise ValueError(
            f"train.loss: got {loss.name!r}, a loss of {_PLURAL[loss.target]}; {has}. Take {usual}."
        )
    if train.label_smoothing and not loss.smooths:
        known = ", ".join(row.name for row in losses.LOSSES.values() if row.smooths)
        raise ValueError(
            f"train.label_smoothing: got {train.label_smoothing} with {loss.name}; expected 0, or "
            f"one of {known}."
        )
    if loss.target == "number":
        from zoo.tasks.regress import Regress

        return Regress(loss.name)
    if loss.target == "binary":
        from zoo.tasks.binary import Binary

        return Binary(train.label_smoothing, loss.name, data.labels)
    from zoo.tasks.classify import Classify

    return Classify(len(data.labels), train.label_smoothing, loss.name, data.labels)


_PLURAL = {"class": "classes", "binary": "a yes or no", "number": "numbers"}
