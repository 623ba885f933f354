"""Classification: one label for each example, one output for each class.

The model gives logits or scores. top-1 and top-5 are the fractions of examples whose label is the
largest, or among the five largest, of the outputs. The calibration error is that of their softmax,
which only the cross-entropy makes a probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from zoo.common.columns import INPUTS, MIXED, MIXED_SHARE, THERE
from zoo.common.settings import SettingsError
from zoo.losses import Loss, LossSpec
from zoo.tasks.labels.attacked import START, Adversarial
from zoo.tasks.supervised import Supervised, divided, run
from zoo.tasks.task import Evaluation, Mean, Metric, Seen

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.data.preprocessing import Preprocessing
    from zoo.tasks.task import Batch, Networks

PLURAL = {"class": "classes", "binary": "a yes or no", "number": "numbers"}


class Labelled(Supervised):
    """A task whose loss reads one label of an example: of a class, a yes or no, or a number.

    Attributes:
        loss: What is minimised, a loss of `zoo.losses` of the task's `target`.
        label_smoothing: Share of the target spread evenly over all classes (Szegedy et al.,
            arXiv:1512.00567, section 7), in [0, 1); only for a loss that smooths.
    """

    target: ClassVar[str]

    loss: LossSpec
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        usual = type(self).model_fields["loss"].default.kind
        facts, problems = self.loss.facts, []
        if facts.target != self.target:
            problems.append(
                f".loss: got {facts.name!r}, a loss of {PLURAL[facts.target]}; expected one of "
                f"{PLURAL[self.target]}, as task.kind is {self.kind}. Take {usual}."
            )
        elif self.label_smoothing and not facts.smooths:
            problems.append(
                f".label_smoothing: got {self.label_smoothing} with {facts.name}; expected 0, or a "
                f"loss that smooths labels, e.g. cross_entropy."
            )
        if problems:
            raise SettingsError("", problems)
        return self

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: of each example, (b,)."""
        (name,) = self.targets
        outputs = self.logits(outputs)
        values = self.loss(batch[name], outputs, label_smoothing=self.label_smoothing)
        if MIXED in batch:  # another picture's label for the rest of it
            other = self.loss(batch[MIXED], outputs, label_smoothing=self.label_smoothing)
            values = other + batch[MIXED_SHARE] * (values - other)
        return Mean(values)

    def mean_loss(self, labels: np.ndarray, outputs: np.ndarray) -> float:
        """Returns the mean loss without label smoothing, summed in float64."""
        import numpy as np
        from keras import ops

        return float(np.mean(ops.convert_to_numpy(self.loss(labels, outputs)), dtype="float64"))


class Classify(Labelled):
    """The task of a classifier; see `Labelled` for its further settings.

    Attributes:
        adversarial: How pictures are changed to mislead before they are learnt; `None`: not. The
            measures of training are then of the changed ones, those of validation never are.
    """

    headline: ClassVar[Metric] = Metric("top1", fraction=True)
    targets: ClassVar[Mapping[str, str]] = {"label": "class"}
    target: ClassVar[str] = "class"

    kind: Literal["classify"] = "classify"
    loss: LossSpec = Loss(kind="cross_entropy")
    adversarial: Adversarial | None = None

    def check(self, data: DataSet) -> None:
        """See `Task.check`: only pictures can be changed to mislead."""
        super().check(data)
        kind = data.columns[data.input].kind
        if self.adversarial is not None and (self.kind != "classify" or kind != "image"):
            raise ValueError(
                f"task.adversarial: got it for the task {self.kind} of {data.name}, whose input is "
                f"of the kind {kind}; expected classify, and image. Write task.adversarial=null."
            )

    def preprocessing(self, column: Column) -> Preprocessing | None:
        """See `Task.preprocessing`: a bound on changes is one of values from 0 to 1."""
        if self.adversarial is None or column.kind != "image":
            return super().preprocessing(column)
        from zoo.data.preprocessing import Preprocessing

        size, channels = column.shape[0], int(column.shape[2] or 1)
        return Preprocessing(
            size=size, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels
        )

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: where the change of a picture begins."""
        if self.adversarial is None or "net" not in networks:
            return {}
        from zoo.data.feeds.source import Draw

        return {START: Draw("uniform", tuple(networks["net"].inputs[0].shape[1:]))}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: of the changed pictures in training, where some are."""
        if self.adversarial is None or not training:
            return super().look(objective, networks, batch, training=training)
        net, share = networks["net"], self.adversarial.share
        name = next(key for key in INPUTS if key in batch)

        def loss(images: Any) -> Any:
            outputs = divided(run(net, {**batch, name: images}, training=False))[0]
            return self.loss_of(batch, outputs).values

        images = self.adversarial.changed(loss, batch[name], batch[START])
        seen = super().look(objective, networks, {**batch, name: images}, training=True)
        if share == 1:
            return seen
        plain = super().look(objective, networks, batch, training=True).loss.values
        mixed = share * seen.loss.values + (1 - share) * plain
        return seen._replace(loss=seen.loss._replace(values=mixed))

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: one output for each class.

        Of a text also its vocabulary; of signals, whether they say where they end.
        """
        found = super().sizes(data) | {"num_classes": len(data.columns["label"].names)}
        read = data.columns[data.input]
        if read.kind == "tokens":
            found["vocabulary"] = len(read.names)
        if read.kind == "series" and THERE in read.names:
            found["ragged"] = True
        return found

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"logits": data.columns["label"]}

    def chosen(self, outputs: Any) -> Any:
        """See `Task.chosen`: the largest output."""
        return outputs.argmax(axis=-1)

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns whether each label is among the largest outputs, as 0 or 1, each (b,)."""
        from keras import ops

        # Of equal outputs the first leads.
        _, best = ops.top_k(outputs, min(5, outputs.shape[-1]))
        labels = ops.cast(batch["label"], best.dtype)
        hits = ops.cast(best == labels[:, None], "float32")  # (b, 5)
        return {"top1": Mean(hits[:, 0]), "top5": Mean(ops.sum(hits, axis=1))}

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures `loss`, `top1`, `top5` and `ece`, the expected calibration error.

        Args:
            columns: `label`: class indices, (n,).
            outputs: (n, classes).
            facts: Names the classes.
        """
        import keras
        from scipy.special import softmax

        from zoo.metrics.calibration import expected_error, reliability
        from zoo.metrics.classification import top_k_accuracy

        labels = columns["label"]
        outputs = keras.ops.convert_to_numpy(self.logits(outputs))
        shares = softmax(outputs.astype("float64"), axis=1)
        guesses = outputs.argmax(axis=1)
        bins = reliability(shares.max(axis=1), guesses == labels)
        metrics = {
            "loss": self.mean_loss(labels, outputs),
            "top1": top_k_accuracy(labels, outputs, 1),
            "top5": top_k_accuracy(labels, outputs, 5),
            "ece": expected_error(bins),
        }
        return classified(metrics, labels, guesses, bins, facts["label"].names)


def classified(
    metrics: dict[str, float],
    labels: np.ndarray,
    guesses: np.ndarray,
    bins: Any,
    names: tuple[str, ...],
) -> Evaluation:
    """Returns the evaluation of guessed classes.

    Args:
        metrics: What was measured.
        labels: Class indices, (n,).
        guesses: Class indices, (n,).
        bins: Confidence and accuracy, see `zoo.metrics.calibration`.
        names: Names of the classes.

    Returns:
        With the tables `per_class` (`label`, `precision`, `recall`, `f1` and `support`),
        `confusion` (counts; rows are true classes, columns are predicted ones) and `reliability`,
        and the picture `confusion`.
    """
    from zoo.metrics.classification import confusion_matrix, per_class
    from zoo.tasks import plots

    counts = confusion_matrix(labels, guesses, len(names))
    return Evaluation(
        metrics,
        {
            "per_class": list(per_class(labels, guesses, names)),
            "confusion": counts.tolist(),
            "reliability": [row._asdict() for row in bins],
        },
        {"confusion": partial(plots.confusion, counts, names)},
    )
