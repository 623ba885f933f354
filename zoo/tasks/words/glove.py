"""Vectors of words by how often words stand near one another: GloVe.

Source: Pennington, Socher & Manning 2014, GloVe: global vectors for word representation, EMNLP,
equations 8 and 9: of each pair that occurs X times,

    f(X) (u . v + b + c - log X)^2,   f(X) = min(1, (X / x_max)^0.75)

Differs: what is deployed are the vectors of words, not their sum with those of contexts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.tensors import TOKENS
from zoo.tasks.task import Evaluation, Mean, Metric, Objective, Seen
from zoo.tasks.words.vectors import Pairs, WordVectors

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

TIMES = "times"
POWER = 0.75


class GloVe(WordVectors):
    """The task of vectors whose products are logarithms of counts.

    Attributes:
        most: Times from which on a pair weighs no more; the paper's is 100, of a text of 6 billion
            words.
    """

    headline: ClassVar[Metric] = Metric("squared_error", higher=False)

    kind: Literal["glove"] = "glove"
    most: Annotated[float, Field(gt=0)] = 100.0

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        if TIMES not in data.columns or TOKENS not in data.columns:
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got glove, which learns how often words stand near one another; "
                f"{data.name} has {has}. Write data.text={{unit: word, form: cooccurrences}}."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`."""
        return {"input_shape": (1,), "num_classes": len(data.columns[TOKENS].names)}

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`."""
        return (Objective(learns=("words", "contexts", "word_biases", "context_biases")),)

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the weighted error of each pair."""
        errors = self._errors(networks, batch)
        return Seen(Mean(errors), {"squared_error": Mean(errors)})

    def meter(self, columns: Mapping[str, Column]) -> Counts:
        """See `Task.meter`."""
        return Counts(self)

    def meter_with(self, data: DataSet, networks: Networks) -> Counts:
        """See `Task.meter_with`: with the neighbours of some words."""
        return Counts(self, networks["words"], data.columns[TOKENS].names)

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the weighted error of each pair, (b,)."""
        from keras import ops

        errors = self._errors(networks, batch)
        return {"loss": errors, "real": ops.ones_like(errors)}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: the first word of each pair, (n, 1)."""
        return columns[TOKENS][:, :1]

    def _errors(self, networks: Networks, batch: Batch) -> Any:
        """Equation 8, of each pair (b,)."""
        from keras import ops

        one, other = batch[TOKENS][:, :1], batch[TOKENS][:, 1:]
        times = ops.cast(batch[TIMES], "float32")
        found = ops.sum(networks["words"](one) * networks["contexts"](other), axis=1)
        found = found + networks["word_biases"](one)[:, 0] + networks["context_biases"](other)[:, 0]
        weights = ops.minimum(ops.power(times / self.most, POWER), 1.0)
        return weights * ops.square(ops.cast(found, "float32") - ops.log(times))


class Counts(Pairs):
    """A meter of the weighted error, and of that of the one number that fits these pairs best.

    Args:
        task: Says how much a pair weighs.
        words: See `Pairs`.
        names: See `Pairs`.
    """

    def __init__(self, task: GloVe, words: Any = None, names: tuple[str, ...] = ()):
        super().__init__(task.headline.name, words, names)
        self._most = task.most
        self._weights: list[np.ndarray] = []
        self._logarithms: list[np.ndarray] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np

        super().add(batch, outputs)
        times = batch[TIMES].astype("float64")
        self._weights.append(np.minimum((times / self._most) ** POWER, 1))
        self._logarithms.append(np.log(times))

    def result(self) -> Evaluation:
        """Returns what `Pairs` does, and the error of the `best_constant`."""
        import numpy as np

        found = super().result()
        weights, logarithms = (np.concatenate(x) for x in (self._weights, self._logarithms))
        errors = weights * (np.average(logarithms, weights=weights) - logarithms) ** 2
        metrics = {**found.metrics, "best_constant": float(errors.mean())}
        return Evaluation(metrics, found.tables, found.pictures)
