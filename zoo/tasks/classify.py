"""Classification: one label for each example, one output for each class.

The model gives logits or scores. top-1 and top-5 are the fractions of examples whose label is the
largest, or among the five largest, of the outputs. The calibration error is that of their softmax,
which only the cross-entropy makes a probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from zoo import losses
from zoo.metrics.calibration import expected_error, reliability
from zoo.metrics.classification import confusion_matrix, per_class, top_k_accuracy
from zoo.tasks.task import Evaluation, mean


@dataclass(frozen=True)
class Classify:
    """The task of a classifier.

    Attributes:
        num_classes: Number of classes.
        label_smoothing: Share of the target spread evenly over all classes (Szegedy et al.,
            arXiv:1512.00567, section 7), in [0, 1); only for a loss that smooths.
        loss_name: A `class` loss of `zoo.losses`.
        labels: Class names; numbers when empty.
    """

    num_classes: int
    label_smoothing: float = 0.0
    loss_name: str = "cross_entropy"
    labels: tuple[str, ...] = ()

    kind: ClassVar[str] = "classify"

    @property
    def num_outputs(self) -> int:
        """One for each class."""
        return self.num_classes

    def loss(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of each example, (batch,).

        Args:
            labels: Class indices, (batch,).
            outputs: (batch, classes).
        """
        smooth = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        return losses.load(self.loss_name)(labels, outputs, **smooth)

    def measures(self, labels: Any, outputs: Any) -> dict[str, Any]:
        """Returns whether each label is among the largest outputs, as 0 or 1, each (batch,)."""
        _, best = ops.top_k(outputs, min(5, self.num_classes))  # of equal outputs the first leads
        hits = ops.cast(best == ops.cast(labels, best.dtype)[:, None], "float32")  # (batch, 5)
        return {"top1": hits[:, 0], "top5": ops.sum(hits, axis=1)}

    def score(self, labels: np.ndarray, outputs: np.ndarray) -> Evaluation:
        """Measures `loss`, `top1`, `top5` and `ece`, the expected calibration error.

        Args:
            labels: Class indices, (n,).
            outputs: (n, classes).
        """
        from scipy.special import softmax

        shares = softmax(outputs.astype("float64"), axis=1)
        guesses = outputs.argmax(axis=1)
        bins = reliability(shares.max(axis=1), guesses == labels)
        metrics = {
            "loss": mean(losses.load(self.loss_name)(labels, outputs)),
            "top1": top_k_accuracy(labels, outputs, 1),
            "top5": top_k_accuracy(labels, outputs, 5),
            "ece": expected_error(bins),
        }
        names = self.labels or tuple(map(str, range(self.num_classes)))
        counts = confusion_matrix(labels, guesses, self.num_classes)
        return Evaluation(metrics, per_class(labels, guesses, names), counts, bins)
