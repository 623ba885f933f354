"""Traits: several attributes of one picture, each a yes or no, learnt at once.

Source: Zhang et al. 2014, arXiv:1311.5591, whose figure is the mean average precision over the
attributes; a logistic loss of each, in the place of its linear SVMs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.tasks.supervised import Supervised
from zoo.tasks.task import Evaluation, Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch

TRAITS = "traits"


class Traits(Supervised):
    """The task of a network with a logit for each attribute; `traits` (n,) are 0 or 1."""

    headline: ClassVar[Metric] = Metric("map", fraction=True)
    targets: ClassVar[Mapping[str, str]] = {TRAITS: "features"}

    kind: Literal["traits"] = "traits"

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: an output for each attribute, and how many parts there are."""
        found = super().sizes(data) | {"num_classes": data.columns[TRAITS].shape[0]}
        return found | (
            {"parts": data.columns["regions"].shape[0]} if "regions" in data.columns else {}
        )

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"logits": data.columns[TRAITS]}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: of each attribute, (b, traits), in nats."""
        from keras import ops

        return Mean(ops.binary_crossentropy(batch[TRAITS], self.logits(outputs), from_logits=True))

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns whether each attribute is told rightly, (b, traits)."""
        from keras import ops

        right = (self.logits(outputs) > 0) == (batch[TRAITS] > 0.5)
        return {"accuracy": Mean(ops.cast(right, "float32"))}

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures `loss`, `map`, the mean average precision, and `accuracy`.

        An attribute that all examples have, or none, has no precision and does not count. The table
        `per_trait` has each attribute, and the share of the examples that have it.
        """
        import numpy as np
        from keras import ops
        from sklearn.metrics import average_precision_score

        truth = columns[TRAITS]
        logits = ops.convert_to_numpy(self.logits(outputs)).astype("float64")
        right = (logits > 0) == (truth > 0.5)
        names = facts[TRAITS].names if TRAITS in facts else ()
        rows: list[dict[str, Any]] = []
        for place in range(truth.shape[1]):
            share = float(truth[:, place].mean())
            precision = float("nan")
            if 0 < share < 1:
                precision = float(average_precision_score(truth[:, place], logits[:, place]))
            name = names[place] if names else str(place)
            accuracy = float(right[:, place].mean())
            rows.append({"trait": name, "share": share, "ap": precision, "accuracy": accuracy})
        losses = np.logaddexp(0, np.where(truth > 0.5, -logits, logits))
        metrics = {
            "loss": float(losses.mean()),
            "map": float(np.nanmean([row["ap"] for row in rows])),
            "accuracy": float(right.mean()),
        }
        for row in rows:
            row["ap"] = None if np.isnan(row["ap"]) else row["ap"]
        return Evaluation(metrics, {"per_trait": rows})
