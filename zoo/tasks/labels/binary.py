"""A yes or no: two classes, and one output that is above 0 for the second class.

The sigmoid of the output is the probability of the second class, where the loss is the binary
cross-entropy; with the other losses the output is a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.losses import Loss, LossSpec
from zoo.tasks.labels.classify import Labelled, classified
from zoo.tasks.task import Evaluation, Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch


class Binary(Labelled):
    """The task of a model with one output for two classes, no before yes.

    Its `label_smoothing` is how far both labels move towards 1/2, as a share of the way.
    """

    headline: ClassVar[Metric] = Metric("top1", fraction=True)
    targets: ClassVar[Mapping[str, str]] = {"label": "class"}
    target: ClassVar[str] = "binary"

    kind: Literal["binary"] = "binary"
    loss: LossSpec = Loss(kind="binary_cross_entropy")

    def check(self, data: DataSet) -> None:
        """See `Task.check`: there are two classes."""
        super().check(data)
        names = data.columns["label"].names
        if len(names) != 2:
            raise ValueError(
                f"task.kind: got binary, a yes or no; {data.name} has {len(names)} classes. Take "
                "task.kind=classify."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: one output."""
        return super().sizes(data) | {"num_classes": 1}

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"logits": data.columns["label"]}

    def chosen(self, outputs: Any) -> Any:
        """See `Task.chosen`: the side of 0; of a probability, that of 1/2."""
        return outputs[:, 0] > (0.5 if self.probabilities else 0)

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns whether each output lies on its label's side of 0, as 0 or 1, (b,)."""
        from keras import ops

        guesses = ops.cast(self.logits(outputs)[:, 0] > 0, "int32")
        right = ops.cast(guesses == ops.cast(batch["label"], "int32"), "float32")
        return {"top1": Mean(right)}

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures `loss`, `top1`, `ece` and `auc`, the area under the ROC curve.

        There is no `auc` of a split with one class only.

        Args:
            columns: `label`: 0 or 1, (n,).
            outputs: (n, 1).
            facts: Names the classes.
        """
        import keras
        import numpy as np
        from scipy.special import expit
        from sklearn.metrics import roc_auc_score

        from zoo.metrics.calibration import expected_error, reliability

        labels = columns["label"]
        outputs = keras.ops.convert_to_numpy(self.logits(outputs))
        output = outputs[:, 0].astype("float64")
        guesses = (output > 0).astype(labels.dtype)
        bins = reliability(expit(np.abs(output)), guesses == labels)
        metrics = {
            "loss": self.mean_loss(labels, outputs),
            "top1": float(np.mean(guesses == labels)),
            "ece": expected_error(bins),
        }
        if len(np.unique(labels)) == 2:
            metrics["auc"] = float(roc_auc_score(labels, output))
        return classified(metrics, labels, guesses, bins, facts["label"].names)
