"""Language: which token comes next in a text.

A network of this task is either of windows, tokens (b, time) to logits (b, time, vocabulary), or
one step of such a one (`zoo.models.step`), which is what is deployed. Both are learnt and measured
alike: a step is run along the window, so what is measured of a compressed step is the step's own.

Where the data have a column `counted`, only so many of the last predictions of a window count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.common.columns import Column
from zoo.tasks.task import Evaluation, Mean, Metric, Seen, Task

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

TOKENS, COUNTED = "tokens", "counted"


class Language(Task):
    """The task of a model that predicts each token of a text from those before it."""

    headline: ClassVar[Metric] = Metric("bits_per_character", higher=False)
    served_apart: ClassVar[bool] = True
    deployed_answers: ClassVar[bool] = True

    kind: Literal["language"] = "language"

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        column = data.columns.get(TOKENS)
        if column is None or not column.names:
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got {self.kind}, which learns tokens of a vocabulary; {data.name} has "
                f"{has}. Take another data set, e.g. pydoc_topics or text:PATH."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: windows of any length, an output for each token."""
        return {"input_shape": (None,), "num_classes": len(data.columns[TOKENS].names)}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the cross-entropy of each prediction that counts, in nats."""
        from keras import ops

        logits = predictions(networks["net"], batch[TOKENS][:, :-1], training=training)
        targets = batch[TOKENS][:, 1:]  # (b, time)
        nats = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        weights = None
        if COUNTED in batch:
            left = ops.arange(targets.shape[1] - 1, -1, -1)  # predictions behind each
            weights = ops.cast(left[None] < batch[COUNTED][:, None], nats.dtype)  # (b, time)
        _, best = ops.top_k(logits, 1)
        hits = ops.cast(best[..., 0] == ops.cast(targets, best.dtype), nats.dtype)
        return Seen(
            Mean(nats, weights),
            {
                "bits_per_character": Mean(nats / math.log(2), weights),
                "top1": Mean(hits, weights),
            },
        )

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the logits of each prediction, (b, time, vocabulary)."""
        return predictions(networks["net"], batch[TOKENS][:, :-1], training=False)

    def meter(self, columns: Mapping[str, Column]) -> Counted:
        """See `Task.meter`."""
        return Counted()

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: a score for each token of the vocabulary."""
        return {"logits": data.columns[TOKENS]._replace(shape=(1,))}

    def states(self, networks: Networks) -> dict[str, Column]:
        """See `Task.states`."""
        from zoo.models import step

        known = step.states(self.deployed(networks)) if networks else {}
        return {name: Column("features", (units,)) for name, units in known.items()}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: of each window one place, with the states of a run up to there.

        The place is a function of the window. States drawn at random are not what a step meets:
        ranges calibrated on them do not fit.
        """
        import numpy as np
        from keras import ops

        from zoo.models import step as steps

        step = self.deployed(networks)
        windows = columns[TOKENS][:, :-1]
        found = steps.through_time(step, ops.convert_to_tensor(windows))
        rows = np.arange(len(windows))
        places = columns[TOKENS].sum(axis=1) % windows.shape[1]  # (n,)
        given = {steps.TOKENS: windows[rows, places][:, None]}  # (n, 1)
        for name in steps.states(step):
            values = ops.convert_to_numpy(found[steps.NEXT + name])  # (n, time, units)
            started = (places > 0)[:, None]
            given[name] = np.where(started, values[rows, places - 1], 0).astype("float32")
        return given

    def asked(
        self,
        call: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
        networks: Networks,
        columns: Mapping[str, np.ndarray],
    ) -> Any:
        """See `Task.asked`: the step is run along each window."""
        import numpy as np

        from zoo.models import step as steps

        windows = columns[TOKENS][:, :-1]
        widths = steps.states(self.deployed(networks))
        known = {name: np.zeros((len(windows), n), "float32") for name, n in widths.items()}
        logits = []
        for place in range(windows.shape[1]):
            found = call({steps.TOKENS: windows[:, place : place + 1], **known})
            known = {name: found[steps.NEXT + name] for name in widths}
            logits.append(found[steps.LOGITS])
        return np.stack(logits, axis=1)  # (n, time, vocabulary)

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: one step."""
        from zoo.models.step import step_of

        return step_of(networks["net"])

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        **options: Any,
    ) -> list[str]:
        """Writes texts, a token at a time, each drawn from what the model expects.

        Args:
            networks: The task's networks, by name.
            columns: What the model answers with, or the data's: `names` of one is the vocabulary.
            count: Number of texts.
            seed: Seed of the draws.
            **options: `prompt`, `length` and `temperature`, see `zoo.tasks.words.writing.Options`.

        Returns:
            The texts, with the prompt.

        Raises:
            ValueError: An option is unknown or out of its range, or a character of the prompt is
                not in the vocabulary.
        """
        from zoo.tasks.made import FLAGS, refuse_options
        from zoo.tasks.words.writing import Options, write_texts

        refuse_options(self, {name: options.pop(name) for name in FLAGS if name in options})

        chosen = Options.parse({"count": count, "seed": seed, **options}, where="generate")
        vocabulary = next(column.names for column in columns.values() if column.names)
        return write_texts(self.deployed(networks), vocabulary, chosen)


def predictions(net: keras.Model, tokens: Any, *, training: bool) -> Any:
    """Returns the logits (b, time, vocabulary) of a network of windows, or of a step run along.

    Args:
        net: See `Language`.
        tokens: (b, time), int32.
        training: Whether to run as in training; a step has nothing that differs.
    """
    from zoo.models.step import LOGITS, is_step, through_time

    if is_step(net):
        return through_time(net, tokens)[LOGITS]
    return net(tokens, training=training)


class Counted:
    """A meter that sums the nats of each prediction that counts, in float64."""

    def __init__(self) -> None:
        self._nats, self._hits, self._count = 0.0, 0, 0

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np
        from scipy.special import logsumexp

        targets = batch[TOKENS][:, 1:]  # (n, time)
        left = np.arange(targets.shape[1])[::-1]
        counts = batch.get(COUNTED, np.full(len(targets), targets.shape[1]))
        real = left[None] < counts[:, None]  # (n, time)
        logits, targets = outputs[real].astype("float64"), targets[real]
        chosen = logits[np.arange(len(targets)), targets]
        self._nats += float((logsumexp(logits, axis=1) - chosen).sum())
        self._hits += int((logits.argmax(axis=1) == targets).sum())
        self._count += len(targets)

    def result(self) -> Evaluation:
        """Returns `loss` in nats, `bits_per_character`, `perplexity` and `top1`."""
        nats = self._nats / self._count
        return Evaluation(
            {
                "loss": nats,
                "bits_per_character": nats / math.log(2),
                "perplexity": math.exp(nats),
                "top1": self._hits / self._count,
            },
            {"counted": [{"tokens": self._count}]},
        )
