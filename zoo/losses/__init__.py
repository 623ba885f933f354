"""The losses by name: what training minimises, for each example.

`LOSSES` is the catalogue: one row for each name, without Keras. The functions take labels and
outputs, both with the batch first, and return one number for each example, (batch,).
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, NamedTuple

from zoo.settings import nearest


class Loss(NamedTuple):
    """One row of the catalogue.

    Attributes:
        name: What the user writes.
        function: `module:function` of `(labels, outputs)`.
        target: What a label is: `class` (an index; one output for each class), `binary` (0 or 1;
            one output, above 0 for a yes), or `number` (as many outputs as numbers).
        title: What people call it, with its source.
        trains: Whether it has a gradient to train by.
        smooths: Whether the function takes `label_smoothing`.
    """

    name: str
    function: str
    target: str
    title: str
    trains: bool = True
    smooths: bool = False


_HERE = "zoo.losses.functions"

# fmt: off
_ROWS = (
    Loss("zero_one", f"{_HERE}:zero_one", "class", "Zero-one loss", trains=False),
    Loss("cross_entropy", f"{_HERE}:cross_entropy", "class", "Cross-entropy", smooths=True),
    Loss("multiclass_svm", f"{_HERE}:multiclass_svm", "class", "Weston & Watkins 1999"),
    Loss("multiclass_svm_squared", f"{_HERE}:multiclass_svm_squared", "class", "Its square"),
    Loss("multiclass_perceptron", f"{_HERE}:multiclass_perceptron", "class", "Perceptron"),
    Loss("binary_cross_entropy", f"{_HERE}:binary_cross_entropy", "binary", "Logistic loss",
         smooths=True),
    Loss("hinge", f"{_HERE}:hinge", "binary", "Hinge loss"),
    Loss("squared_hinge", f"{_HERE}:squared_hinge", "binary", "Squared hinge loss"),
    Loss("perceptron", f"{_HERE}:perceptron", "binary", "Rosenblatt 1958"),
    Loss("mse", f"{_HERE}:mse", "number", "Mean squared error"),
    Loss("mae", f"{_HERE}:mae", "number", "Mean absolute error"),
    Loss("huber", f"{_HERE}:huber", "number", "Huber 1964"),
)
# fmt: on

LOSSES: dict[str, Loss] = {row.name: row for row in _ROWS}


def find(name: str) -> Loss:
    """Returns the row called `name`.

    Raises:
        ValueError: There is no such row; the line suggests one.
    """
    if name not in LOSSES:
        raise ValueError(f"a loss. {nearest(name, LOSSES)}")
    return LOSSES[name]


def find_trainable(name: str) -> Loss:
    """Returns the row called `name`, of a loss that a model can learn by.

    Raises:
        ValueError: There is no such row, or the loss has no gradient.
    """
    row = find(name)
    if not row.trains:
        raise ValueError("a loss with a gradient. Train by cross_entropy; top1 counts mistakes.")
    return row


def first(name: str, num_classes: int) -> float | None:
    """Returns the loss of outputs that are all 0, as those of a fresh model nearly are.

    Margins are 1.

    Args:
        name: A name of `LOSSES`.
        num_classes: Number of classes; read by the `class` losses only.

    Returns:
        The loss of every example; `None` where it depends on the labels.

    Raises:
        ValueError: There is no such loss.
    """
    values = {
        "cross_entropy": math.log(num_classes),
        "multiclass_svm": num_classes - 1.0,
        "multiclass_svm_squared": num_classes - 1.0,
        "multiclass_perceptron": 0.0,
        "binary_cross_entropy": math.log(2),
        "hinge": 1.0,
        "squared_hinge": 1.0,
        "perceptron": 0.0,
    }
    return values.get(find(name).name)


def load(name: str) -> Any:
    """Returns the function of the loss called `name`: (labels, outputs) to (batch,).

    Raises:
        ValueError: There is no such loss.
    """
    module, function = find(name).function.split(":")
    return getattr(import_module(module), function)
