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

from zoo.tasks.task import Mean, Metric, Objective, Seen
from zoo.tasks.words.vectors import TOKENS, WordVectors

if TYPE_CHECKING:
    import numpy as np

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
