"""The losses by name: what training minimises, for each example.

`LOSSES` is the catalogue: one row for each name, without Keras. The functions take labels and
outputs, both with the batch first, and return one number for each example, (batch,).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, ConfigDict, model_serializer, model_validator

from zoo.common.settings import Settings, SettingsError, nearest, shown


class LossFacts(NamedTuple):
    """One row of the catalogue.

    Attributes:
        name: What the user writes.
        function: `module:function` of `(labels, outputs)`.
        target: What a label is: `class` (an index; one output for each class), `binary` (0 or 1;
            one output, above 0 for a yes), or `number` (as many outputs as numbers).
        title: What people call it, with its source.
        trains: Whether it has a gradient to train by.
        smooths: Whether the function takes `label_smoothing`.
        settings: What else the function takes, by keyword, with its usual value.
    """

    name: str
    function: str
    target: str
    title: str
    trains: bool = True
    smooths: bool = False
    settings: Mapping[str, float] = {}


_HERE = "zoo.losses.functions"
_MARGIN = {"margin": 1.0}
_FOCUS = {"gamma": 2.0, "alpha": 0.25}

# fmt: off
_ROWS = (
    LossFacts("zero_one", f"{_HERE}:zero_one", "class", "Zero-one loss", trains=False),
    LossFacts("cross_entropy", f"{_HERE}:cross_entropy", "class", "Cross-entropy", smooths=True),
    LossFacts("multiclass_svm", f"{_HERE}:multiclass_svm", "class", "Weston & Watkins 1999",
         settings=_MARGIN),
    LossFacts("multiclass_svm_squared", f"{_HERE}:multiclass_svm_squared", "class", "Its square",
         settings=_MARGIN),
    LossFacts("multiclass_perceptron", f"{_HERE}:multiclass_perceptron", "class", "Perceptron"),
    LossFacts("focal", f"{_HERE}:focal", "class", "Lin et al., arXiv:1708.02002", smooths=True,
         settings=_FOCUS),
    LossFacts("binary_focal", f"{_HERE}:binary_focal", "binary", "Lin et al., arXiv:1708.02002",
         smooths=True, settings=_FOCUS),
    LossFacts("binary_cross_entropy", f"{_HERE}:binary_cross_entropy", "binary", "Logistic loss",
         smooths=True),
    LossFacts("hinge", f"{_HERE}:hinge", "binary", "Hinge loss", settings=_MARGIN),
    LossFacts("squared_hinge", f"{_HERE}:squared_hinge", "binary", "Squared hinge loss",
         settings=_MARGIN),
    LossFacts("perceptron", f"{_HERE}:perceptron", "binary", "Rosenblatt 1958"),
    LossFacts("mse", f"{_HERE}:mse", "number", "Mean squared error"),
    LossFacts("mae", f"{_HERE}:mae", "number", "Mean absolute error"),
    LossFacts("huber", f"{_HERE}:huber", "number", "Huber 1964", settings={"delta": 1.0}),
)
# fmt: on

LOSSES: dict[str, LossFacts] = {row.name: row for row in _ROWS}


def find_loss(name: str) -> LossFacts:
    """Returns the row called `name`.

    Raises:
        ValueError: There is no such row; the line suggests one.
    """
    if name not in LOSSES:
        raise ValueError(f"a loss. {nearest(name, LOSSES)}")
    return LOSSES[name]


def find_trainable(name: str) -> LossFacts:
    """Returns the row called `name`, of a loss that a model can learn by.

    Raises:
        ValueError: There is no such row, or the loss has no gradient.
    """
    row = find_loss(name)
    if not row.trains:
        raise ValueError("a loss with a gradient. Train by cross_entropy; top1 counts mistakes.")
    return row


class Loss(Settings):
    """A loss that a model learns by, with its settings; called, it gives each example's loss.

    In a recipe it is a name, `huber`, or a name with settings, `{kind: huber, delta: 2.0}`.

    Attributes:
        kind: A name of `LOSSES` whose loss has a gradient.
    """

    model_config = ConfigDict(extra="allow")

    kind: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        problems = []
        try:
            row = find_trainable(self.kind)
        except ValueError as error:
            raise SettingsError("", [f": got {self.kind!r}; expected {error}"]) from None
        for name, value in self.changes.items():
            if name not in row.settings:
                hint = nearest(name, row.settings) if row.settings else "It has no settings."
                problems.append(f".{name}: unknown key of {self.kind}. {hint}")
            elif (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 <= value < math.inf
            ):
                problems.append(f".{name}: got {shown(value)}; expected a number, not below 0.")
        if problems:
            raise SettingsError("", problems)
        return self

    @model_serializer
    def _plain(self) -> Any:
        return {"kind": self.kind, **self.changes} if self.changes else self.kind

    @property
    def facts(self) -> LossFacts:
        """The row of the catalogue."""
        return LOSSES[self.kind]

    @property
    def changes(self) -> dict[str, float]:
        """The settings that were given."""
        return dict(self.model_extra or {})

    def __call__(self, labels: Any, outputs: Any, *, label_smoothing: float = 0.0) -> Any:
        """Returns the loss of each example, (batch,).

        Args:
            labels: What the row's `target` says, with the batch first.
            outputs: Outputs of the network, with the batch first.
            label_smoothing: Share of the target spread evenly; 0 for a loss that does not smooth.
        """
        smooth = {"label_smoothing": label_smoothing} if label_smoothing else {}
        return loss_function(self.kind)(labels, outputs, **self.changes, **smooth)


def _spelled(value: Any) -> Any:
    """A name alone is a loss with its usual settings."""
    return {"kind": value} if isinstance(value, str) else value


LossSpec = Annotated[Loss, BeforeValidator(_spelled)]


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
    return values.get(find_loss(name).name)


def loss_function(name: str) -> Any:
    """Returns the function of the loss called `name`: (labels, outputs) to (batch,).

    Raises:
        ValueError: There is no such loss.
    """
    module, function = find_loss(name).function.split(":")
    return getattr(import_module(module), function)
