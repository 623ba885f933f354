"""Language: which token comes next in a text.

A network of this task is either of windows, tokens (b, time) to logits (b, time, vocabulary), or
one step of such a one (`zoo.models.step`). Both are learnt and measured alike: a step is run along
the window, so what is measured of a compressed step is the step's own. What is deployed is a step
where the network has one, the network of windows of its one length where it has none.

Of the last predictions of a window so many count as the column `counted` says; where the data have
`lengths`, the characters that each token stands for, bits are of those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.columns import Column
from zoo.common.tensors import COUNTED, LENGTHS, LOGITS, NEXT, TOKENS
from zoo.tasks.task import Mean, Metric, Seen, Task
from zoo.tasks.words.predicting import Counted, predictions

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks


class Language(Task):
    """The task of a model that predicts each token of a text from those before it.

    Attributes:
        dynamic: Rate at which the model goes on learning from the text that it is measured on,
            behind each prediction; what comes of it is measured beside the rest, see
            `zoo.tasks.words.dynamic`. At 0 nothing is learnt.
    """

    headline: ClassVar[Metric] = Metric("bits_per_character", higher=False)
    served_apart: ClassVar[bool] = True
    deployed_answers: ClassVar[bool] = True
    measured_by: ClassVar[tuple[str, ...]] = ("dynamic",)

    kind: Literal["language"] = "language"
    dynamic: Annotated[float, Field(ge=0, le=10)] = 0.0

    def check(self, data: DataSet) -> None:
        """See `Task.check`: windows of a text; rows of other sets have padding, or say more."""
        column = data.columns.get(TOKENS)
        windows = column is not None and column.names and COUNTED in data.columns
        if not windows or set(data.columns) - {TOKENS, COUNTED, LENGTHS}:
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got {self.kind}, which learns windows of a text, {TOKENS} of a "
                f"vocabulary and {COUNTED} (count); {data.name} has {has}. Take another data set, "
                "e.g. pydoc_topics or text:PATH."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: windows of any length, an output for each token."""
        return {"input_shape": (None,), "num_classes": len(data.columns[TOKENS].names)}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the cross-entropy of each prediction that counts, in nats."""
        from keras import ops

        _check_size(networks["net"], batch[TOKENS])
        logits = predictions(networks["net"], batch[TOKENS][:, :-1], training=training)
        targets = batch[TOKENS][:, 1:]  # (b, time)
        nats = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        weights = None
        if COUNTED in batch:
            left = ops.arange(targets.shape[1] - 1, -1, -1)  # predictions behind each
            weights = ops.cast(left[None] < batch[COUNTED][:, None], nats.dtype)  # (b, time)
        bits = Mean(nats / math.log(2), weights)
        if LENGTHS in batch:  # the mean over characters
            lengths = ops.cast(batch[LENGTHS][:, 1:], nats.dtype)  # (b, time)
            bits = Mean(
                bits.values / ops.maximum(lengths, 1),
                lengths if weights is None else lengths * weights,
            )
        _, best = ops.top_k(logits, 1)
        hits = ops.cast(best[..., 0] == ops.cast(targets, best.dtype), nats.dtype)
        return Seen(Mean(nats, weights), {"bits_per_character": bits, "top1": Mean(hits, weights)})

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the logits of each prediction, (b, time, vocabulary)."""
        return predictions(networks["net"], batch[TOKENS][:, :-1], training=False)

    def meter(self, columns: Mapping[str, Column]) -> Counted:
        """See `Task.meter`."""
        return Counted(_unknown(columns[TOKENS]))

    def meter_with(self, data: DataSet, networks: Networks) -> Counted:
        """See `Task.meter_with`: with a dynamic evaluation, if there is to be one."""
        unknown = _unknown(data.columns[TOKENS])
        if not self.dynamic:
            return Counted(unknown)
        from zoo.tasks.words.dynamic import Dynamic

        return Dynamic(networks["net"], self.dynamic, unknown=unknown)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: a score for each token of the vocabulary."""
        return {LOGITS: data.columns[TOKENS]._replace(shape=(1,))}

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
        if not steps.is_step(step):
            return windows
        found = steps.through_time(step, ops.convert_to_tensor(windows))
        rows = np.arange(len(windows))
        places = columns[TOKENS].sum(axis=1) % windows.shape[1]  # (n,)
        given = {TOKENS: windows[rows, places][:, None]}  # (n, 1)
        for name in steps.states(step):
            values = ops.convert_to_numpy(found[NEXT + name])  # (n, time, units)
            started = (places > 0)[:, None]
            given[name] = np.where(started, values[rows, places - 1], 0).astype("float32")
        return given

    def asked(
        self,
        call: Callable[[Any], Any],
        networks: Networks,
        columns: Mapping[str, np.ndarray],
    ) -> Any:
        """See `Task.asked`: the step is run along each window."""
        import numpy as np

        from zoo.models import step as steps

        windows = columns[TOKENS][:, :-1]
        if not steps.is_step(self.deployed(networks)):
            return call(windows)
        widths = steps.states(self.deployed(networks))
        known = {name: np.zeros((len(windows), n), "float32") for name, n in widths.items()}
        logits = []
        for place in range(windows.shape[1]):
            found = call({TOKENS: windows[:, place : place + 1], **known})
            known = {name: found[NEXT + name] for name in widths}
            logits.append(found[LOGITS])
        return np.stack(logits, axis=1)  # (n, time, vocabulary)

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: one step, if the network has one."""
        from zoo.models.step import has_step, step_of

        return step_of(networks["net"]) if has_step(networks["net"]) else networks["net"]

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
            **options: `prompt`, `tokens`, `temperature`, `top_k` and `top_p`, see
                `zoo.common.writing.Options`.

        Returns:
            The texts, with the prompt.

        Raises:
            ValueError: An option is unknown or out of its range, or something of the prompt is
                not in the vocabulary.
        """
        from zoo.common import writing
        from zoo.common.vocabulary import Vocabulary
        from zoo.tasks.made import FLAGS, refuse_options

        refuse_options(self, {name: options.pop(name) for name in FLAGS if name in options})
        chosen = writing.Options.parse({"count": count, "seed": seed, **options}, where="generate")
        known = Vocabulary.read(next(column for column in columns.values() if column.names))
        return writing.write_texts(reader(self.deployed(networks), count), known, chosen)


def reader(model: keras.Model, count: int) -> Any:
    """Returns what reads texts by a deployed model, see `zoo.common.writing.Reader`.

    Args:
        model: One step, or a model of windows of one length.
        count: Number of texts that are read side by side.
    """
    import tensorflow as tf

    from zoo.common import writing
    from zoo.models import step as steps

    forward = tf.function(lambda given: model(given, training=False), autograph=False)
    names = [tensor.name for tensor in model.inputs]
    if not steps.is_step(model):

        def answer(given: Mapping[str, Any]) -> dict[str, Any]:
            return {LOGITS: forward(tf.constant(given[TOKENS]))}

        return writing.Windowed(answer, model.inputs[0].shape[1], count)

    def call(given: Mapping[str, Any]) -> Any:
        return forward([tf.convert_to_tensor(given[name]) for name in names])

    return writing.Stepping(call, steps.states(model), count)


def _unknown(column: Column) -> int | None:
    """The token that stands for words that a vocabulary lacks; `None` where there is none."""
    from zoo.common.vocabulary import OF_TEXT

    return 0 if column.names[:1] == OF_TEXT else None


def _check_size(net: keras.Model, tokens: Any) -> None:
    """Refuses windows of another length than a network's own."""
    size, own = tokens.shape[1] - 1, net.inputs[0].shape[1]
    if len(net.inputs) == 1 and own not in (None, size):
        raise ValueError(
            f"data.size: got {size}; {net.name} reads windows of {own}. Write data.size={own}, or "
            f"settings.context={size}."
        )
