"""A yes or no: two classes, and one output that is above 0 for the second class.

The sigmoid of the output is the probability of the second class, where the loss is the binary
cross-entropy; with the other losses the output is a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from zoo import losses
from zoo.metrics.calibration import expected_error, reliability
from zoo.metrics.classification import confusion_matrix, per_class
from zoo.tasks.task import Evaluation, mean


@dataclass(frozen=True)
class Binary:
    """The task of a model with one output for two classes.

    Attributes:
        label_smoothing: How far both labels move towards 1/2, as a share of the way, in [0, 1);
            only for a loss that smooths.
        loss_name: A `binary` loss of `zoo.losses`.
        labels: Names of the two classes, no before yes.
    """

    label_smoothing: float = 0.0
    loss_name: str = "binary_cross_entropy"
    labels: tuple[str, ...] = ("no", "yes")

    kind: ClassVar[str] = "binary"
    num_outputs: ClassVar[int] = 1

    def loss(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of each example, (batch,).

        Args:
            labels: 0 or 1, (batch,).
            outputs: (batch, 1).
        """
        smooth = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        return losses.load(self.loss_name)(labels, outputs, **smooth)

    def measures(self, labels: Any, outputs: Any) -> dict[str, Any]:
        """Returns whether each output lies on its label's side of 0, as 0 or 1, (batch,)."""
        guesses = ops.cast(outputs[:, 0] > 0, "int32")
        return {"top1": ops.cast(guesses == ops.cast(labels, "int32"), "float32")}

    def score(self, labels: np.ndarray, outputs: np.ndarray) -> Evaluation:
        """Measures `loss`, `top1`, `ece` and `auc`, the area under the ROC curve.

        There is no `auc` of a split with one class only.

        Args:
            labels: 0 or 1, (n,).
            outputs: (n, 1).
        """
        from scipy.special import expit
        from sklearn.metrics import roc_auc_score

        output = outputs[:, 0].astype("float64")
        guesses = (output > 0).astype(labels.dtype)
        bins = reliability(expit(np.abs(output)), guesses == labels)
        metrics = {
            "loss": mean(losses.load(self.loss_name)(labels, outputs)),
            "top1": float(np.mean(guesses == labels)),
            "ece": expected_error(bins),
        }
        if len(np.unique(labels)) == 2:
            metrics["auc"] = float(roc_auc_score(labels, output))
        counts = confusion_matrix(labels, guesses, 2)
        return Evaluation(metrics, per_class(labels, guesses, self.labels), counts, bins)
