"""What tasks with one network and one objective share: inputs in, outputs out, a target to reach.

Auxiliary heads: outputs whose names begin with `auxiliary` train the layers below them and then go
(Szegedy et al. 2014, arXiv:1409.4842, section 5). Their losses are added to the training loss at
`auxiliary_weight`, nothing is measured on them, and the deployed model has them no more. All other
outputs are the answer: one tensor, or a mapping by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from zoo.tasks.task import Evaluation, Mean, Seen, Task, columns_of

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

AUXILIARY = "auxiliary"


class Supervised(Task):
    """A task with one network: subclasses give loss, measures and score.

    Attributes:
        auxiliary_weight: Share of each auxiliary head in the loss, where a network has some.
        probabilities: Whether the outputs are those of a softmax or a sigmoid, as of models that
            the zoo has not made, and no logits.
        targets: Names of the columns that are learnt, each with its kind.
    """

    deployed_answers: ClassVar[bool] = True
    targets: ClassVar[Mapping[str, str]] = {}

    auxiliary_weight: Annotated[float, Field(ge=0, lt=1)] = 0.3
    probabilities: bool = False

    def logits(self, outputs: Any) -> Any:
        """Returns outputs as logits, which the loss and the calibration are of.

        Args:
            outputs: (n, ..., classes); or (n, 1) of a yes or no.
        """
        if not self.probabilities:
            return outputs
        from keras import ops

        shares = ops.clip(ops.cast(outputs, "float32"), 1e-7, 1 - 1e-7)  # as Keras' own losses do
        logits = ops.log(shares)  # of which the softmax is the shares again
        return logits - ops.log(1 - shares) if outputs.shape[-1] == 1 else logits

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """Returns what is minimised: of each example, or of its parts.

        Args:
            batch: Named columns (b, ...).
            outputs: One answer of the network.
        """
        raise NotImplementedError

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns named quantities whose means are of interest."""
        return {}

    def score(
        self,
        columns: Mapping[str, np.ndarray],
        outputs: Any,
        facts: Mapping[str, Column],
    ) -> Evaluation:
        """Measures the answers on a whole split, without label smoothing.

        Args:
            columns: The targets (n, ...), by name.
            outputs: The answers, with n first.
            facts: The columns of the data set.
        """
        raise NotImplementedError

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        for name, kind in self.targets.items():
            column = data.columns.get(name)
            if column is None or column.kind != kind:
                has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
                raise ValueError(
                    f"task.kind: got {self.kind}, which learns {name} ({kind}); {data.name} has "
                    f"{has}. Take another data set, or another task.kind."
                )

    def uses(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.uses`: what is learnt."""
        return tuple(self.targets)

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`."""
        return {"input_shape": data.columns[data.input].shape}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`."""
        outputs = run(networks["net"], batch, training=training)
        return self.judge(batch, outputs)

    def judge(self, batch: Batch, outputs: Any) -> Seen:
        """Returns what is seen of a batch, given all outputs of the network."""
        main, others = divided(outputs)
        loss = shown = self.loss_of(batch, main)
        for other in others:
            loss = loss._replace(
                values=loss.values + self.auxiliary_weight * self.loss_of(batch, other).values
            )
        return Seen(loss, {"loss": shown, **self.measures(batch, main)})

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the network's own."""
        return divided(run(networks["net"], batch, training=False))[0]

    def meter(self, columns: Mapping[str, Column]) -> Collected:
        """See `Task.meter`."""
        return Collected(self, columns)

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: without auxiliary heads."""
        return without_auxiliary(networks["net"])


class Collected:
    """A meter that keeps targets and answers and scores them in the end.

    Args:
        task: Scores.
        columns: The data set's columns, by name.
    """

    def __init__(self, task: Supervised, columns: Mapping[str, Column]):
        self._task, self._columns = task, columns
        self._targets: list[dict[str, np.ndarray]] = []
        self._outputs: list[Any] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        self._targets.append({name: batch[name] for name in self._task.targets})
        self._outputs.append(outputs)

    def result(self) -> Evaluation:
        """See `Meter.result`."""
        import keras
        import numpy as np

        def joined(*parts: np.ndarray) -> np.ndarray:
            return np.concatenate(parts)

        targets = keras.tree.map_structure(joined, *self._targets)
        outputs = keras.tree.map_structure(joined, *self._outputs)
        return self._task.score(targets, outputs, self._columns)


def run(network: keras.Model, batch: Batch, *, training: bool) -> Any:
    """Calls a network with the columns that it reads, see `zoo.tasks.task.read`.

    Args:
        network: Functional.
        batch: Named columns (b, ...).
        training: Whether to run as in training.
    """
    import keras

    from compress.graph import inputs_of

    found = columns_of(network, batch)
    values = (
        [found[tensor.name] for tensor in network.inputs] if len(network.inputs) > 1 else [found]
    )
    return network(keras.tree.pack_sequence_as(inputs_of(network), values), training=training)


def divided(outputs: Any) -> tuple[Any, list[Any]]:
    """Returns the answer and the auxiliary outputs of a network's outputs."""
    if not isinstance(outputs, Mapping):
        return outputs, []
    main = {name: x for name, x in outputs.items() if not name.startswith(AUXILIARY)}
    others = [x for name, x in outputs.items() if name.startswith(AUXILIARY)]
    return (next(iter(main.values())) if len(main) == 1 else main), others


def without_auxiliary(model: keras.Model) -> keras.Model:
    """Returns the model without its auxiliary heads; it shares the weights that are left."""
    import keras

    if isinstance(model, keras.Sequential):  # has one output
        return model
    outputs = model.output
    if not isinstance(outputs, Mapping):
        return model
    main, others = divided(outputs)
    return keras.Model(model.input, main, name=model.name) if others else model
