"""Captioning: a sentence for a picture.

Sources: Vinyals et al. 2014, Show and tell, arXiv:1411.4555; Xu et al. 2015, Show, attend and tell,
arXiv:1502.03044, whose penalty of the attention is equation 14.

A model has an `encoder` of pictures and a `decoder`, one step of a sentence
(`zoo.tasks.words.telling`). It learns each word given the picture and the true words before it;
padding does not count. What is deployed is a step from the picture, both networks in one graph,
which is compressed and exported whole; a bundle holds the two beside it, so that the picture need
not be looked at for each word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.columns import Column
from zoo.common.sentences import MARKS, PADDING
from zoo.common.tensors import IMAGE, LOGITS, NEXT, TOKENS, WEIGHTS
from zoo.tasks.task import Mean, Metric, Objective, Seen, Task
from zoo.tasks.words import telling
from zoo.tasks.words.hard import BASELINE, Hard

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.tasks.task import Batch, Networks
    from zoo.tasks.words.captions import Captions


class Caption(Task):
    """The task of a captioner.

    Attributes:
        attention_penalty: Weight of the sum over places of (1 - sum over words of the attention)^2,
            which asks for a look at every place; the paper's is 1.
        hard: How places are learnt of which each word looks at one; `None` where the model has no
            attention, or looks at all places at once.
        read: Name of the column that the encoder reads.
    """

    headline: ClassVar[Metric] = Metric("exact_match", fraction=True)
    deployed_answers: ClassVar[bool] = True
    served_apart: ClassVar[bool] = True
    read: ClassVar[str] = IMAGE
    cuts: ClassVar[tuple[str, ...]] = (TOKENS,)

    kind: Literal["caption"] = "caption"
    attention_penalty: Annotated[float, Field(ge=0)] = 0.0
    hard: Hard | None = None

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        image, tokens = data.columns[data.input], data.columns.get(TOKENS)
        if image.kind != "image" or tokens is None or tokens.names[: len(MARKS)] != MARKS:
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got caption, which learns pictures and tokens of a vocabulary that "
                f"begins with {', '.join(MARKS)}; {data.name} has {has}. Take another data set, "
                "e.g. digit_captions."
            )
        telling.check_length(data, TOKENS)
        if self.hard and (most := int(tokens.shape[0] or 0) - 1) > self.hard.words:
            raise ValueError(
                f"task.hard.words: got {self.hard.words}; {data.name} has sentences of {most}."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: an output for each word."""
        names = data.columns[TOKENS].names
        return {"input_shape": data.columns[data.input].shape, "num_classes": len(names)}

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`."""
        return (data.input, TOKENS)

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one, for both networks; and that of hard attention's average."""
        return self.hard.objectives() if self.hard else (Objective(learns=("encoder", "decoder")),)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: places to look at, where each word looks at one."""
        return self.hard.draws(networks) if self.hard else {}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the cross-entropy of each token that is no padding, in nats."""
        from keras import ops

        targets, tokens = batch[TOKENS][:, 1:], batch[TOKENS][:, :-1]  # (b, time)
        drawn = self.hard.drawn(batch, tokens.shape[1]) if self.hard and training else {}
        found = telling.told(networks, batch[self.read], tokens, training=training, drawn=drawn)
        logits = ops.cast(found[LOGITS], "float32")
        nats = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        real = ops.cast(targets != PADDING, "float32")
        if self.hard and objective == BASELINE:
            return self.hard.follow(networks, batch, nats=nats, real=real)
        hits = ops.cast(ops.cast(ops.argmax(logits, axis=-1), targets.dtype) == targets, "float32")
        learnt, shown = nats, {"loss": Mean(nats, real), "top1": Mean(hits, real)}
        if self.attention_penalty and WEIGHTS in found:
            looked = ops.sum(ops.cast(found[WEIGHTS], "float32") * real[..., None], axis=1)
            penalty = ops.sum((1 - looked) ** 2, axis=-1)  # (b,)
            share = self.attention_penalty / ops.sum(real, axis=1)  # of each token
            learnt = nats + (share * penalty)[:, None]
        if self.hard:
            added, more = self.hard.look(networks, batch, found, nats=nats, real=real)
            learnt, shown = learnt + added, shown | more
        return Seen(Mean(learnt, real), shown)

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: the likeliest `captions`, and `logits` given the true words."""
        tokens = batch[TOKENS]
        found = telling.told(networks, batch[self.read], tokens[:, :-1], training=False)
        said = telling.greedy(networks, batch[self.read], tokens.shape[1] - 1)
        return {LOGITS: found[LOGITS], **said}

    def meter(self, columns: Mapping[str, Column]) -> Captions:
        """See `Task.meter`."""
        from zoo.tasks.words.captions import Captions

        return Captions(columns)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: a score for each word of the vocabulary."""
        return {LOGITS: data.columns[TOKENS]._replace(shape=(1,))}

    def states(self, networks: Networks) -> dict[str, Column]:
        """See `Task.states`."""
        from zoo.models import step

        known = step.states(networks["decoder"]) if "decoder" in networks else {}
        return {name: Column("features", (units,)) for name, units in known.items()}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: of each sentence one place, with the states of a run up to there.

        The place is a function of the sentence; the picture at t = -1 is one of them.
        """
        import numpy as np
        from keras import ops

        from zoo.models import step

        tokens, images = columns[TOKENS], columns[self.read]
        num, names = len(tokens), step.states(networks["decoder"])
        lead = np.tile(np.array(telling.leads(networks["decoder"]), np.int32), (num, 1))
        read = np.concatenate([lead, tokens[:, :-1]], axis=1)  # (n, leads + time)
        found = telling.told(
            networks, ops.convert_to_tensor(images), ops.convert_to_tensor(tokens[:, :-1]),
            training=False,
        )  # fmt: skip
        first = telling.begin(networks, ops.convert_to_tensor(images))
        counts = lead.shape[1] + (tokens[:, :-1] != PADDING).sum(axis=1)
        places, rows = tokens.sum(axis=1) % counts, np.arange(num)
        given = {self.read: images, TOKENS: read[rows, places][:, None]}
        for name in names:
            states = ops.convert_to_numpy(found[NEXT + name])  # (n, time, units)
            before = [ops.convert_to_numpy(first[name])[:, None]] * lead.shape[1]
            states = np.concatenate([*before, states], axis=1)  # behind each token that is read
            started = (places > 0)[:, None]
            given[name] = np.where(started, states[rows, places - 1], 0).astype("float32")
        return given

    def asked(self, call: Any, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.asked`: the step is run until each sentence has its end."""
        length = columns[TOKENS].shape[1] - 1
        return {"captions": telling.asked(call, networks, columns[self.read], length)}

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: one step from the picture."""
        return telling.whole(networks)

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """See `Task.replaced`: the models of these names in the deployed one."""
        found = {layer.name: layer for layer in model.layers}
        missing = [name for name in ("encoder", "decoder") if name not in found]
        if missing:
            raise ValueError(
                f"{model.name}: has no {' and no '.join(missing)}; expected the nested models "
                "encoder and decoder, as a bundle's model.keras has them."
            )
        return {**networks, "encoder": found["encoder"], "decoder": found["decoder"]}
