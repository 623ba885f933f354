"""Regression: a number for each example.

Targets keep their own unit: nothing is scaled behind the user's back, and every measure is in that
unit. So is the output's bias, which starts at 0: plain gradient descent brings it to a target mean
of some hundreds in a few dozen steps, while Adam, whose steps are as long as its rate, does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from zoo import losses
from zoo.metrics.regression import mean_absolute_error, mean_squared_error, r2
from zoo.tasks.task import Evaluation, mean


@dataclass(frozen=True)
class Regress:
    """The task of a model with one output, a number.

    Attributes:
        loss_name: A `number` loss of `zoo.losses`.
    """

    loss_name: str = "mse"

    kind: ClassVar[str] = "regress"
    num_outputs: ClassVar[int] = 1

    def loss(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of each example, (batch,).

        Args:
            labels: Targets, (batch,).
            outputs: (batch, 1).
        """
        return losses.load(self.loss_name)(labels, outputs)

    def measures(self, labels: Any, outputs: Any) -> dict[str, Any]:
        """Returns the squared error and the magnitude of the error, each (batch,)."""
        return {name: losses.load(name)(labels, outputs) for name in ("mse", "mae")}

    def score(self, labels: np.ndarray, outputs: np.ndarray) -> Evaluation:
        """Measures `loss`, `mse`, `mae`, and `r2`, the share of the variance that is explained.

        Args:
            labels: Targets, (n,).
            outputs: (n, 1).
        """
        guesses = outputs[:, 0]
        metrics = {
            "loss": mean(losses.load(self.loss_name)(labels, outputs)),
            "mse": mean_squared_error(labels, guesses),
            "mae": mean_absolute_error(labels, guesses),
            "r2": r2(labels, guesses),
        }
        return Evaluation(metrics)
