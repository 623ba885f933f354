"""Regression: a number for each example.

Targets keep their own unit: nothing is scaled behind the user's back, and every measure is in that
unit. So is the output's bias, which starts at 0: plain gradient descent brings it to a target mean
of some hundreds in a few dozen steps, while Adam, whose steps are as long as its rate, does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.losses import Loss, LossSpec, loss_function
from zoo.tasks.labels.classify import Labelled
from zoo.tasks.task import Evaluation, Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch


class Regress(Labelled):
    """The task of a model with one output, a number."""

    headline: ClassVar[Metric] = Metric("mse", higher=False)
    targets: ClassVar[Mapping[str, str]] = {"target": "number"}
    target: ClassVar[str] = "number"

    kind: Literal["regress"] = "regress"
    loss: LossSpec = Loss(kind="mse")

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: one output."""
        return super().sizes(data) | {"num_classes": 1}

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"logits": data.columns["target"]}

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns the squared error and the magnitude of the error, each (b,)."""
        return {
            name: Mean(loss_function(name)(batch["target"], outputs)) for name in ("mse", "mae")
        }

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures `loss`, `mse`, `mae`, and `r2`, the share of the variance that is explained.

        Args:
            columns: `target`: numbers, (n,).
            outputs: (n, 1).
            facts: The columns of the data set.
        """
        from zoo.metrics.regression import mean_absolute_error, mean_squared_error, r2

        labels, guesses = columns["target"], outputs[:, 0]
        return Evaluation(
            {
                "loss": self.mean_loss(labels, outputs),
                "mse": mean_squared_error(labels, guesses),
                "mae": mean_absolute_error(labels, guesses),
                "r2": r2(labels, guesses),
            }
        )
