"""Vectors of words by which words stand near which: skip-gram and CBOW with negative samples.

Sources: Mikolov et al. 2013, arXiv:1301.3781, sections 3.1 and 3.2; arXiv:1310.4546, equation 4,
and section 2.3 in the form of word2vec.c, sqrt(t / f) + t / f, whose window reaches 1 to `window`
words, each as often. The loss of a pair, right word o beside v and k wrong ones n,

    -log s(u_o . v) - sum over n of log s(-u_n . v)

As in word2vec.c a window reaches over words that are left out, each word near one takes the whole
gradient of their mean, and a wrong word that is the right one does not count.
Differs: descent by batches in place of pair by pair; who is left out is drawn for each window.
Limits: a window reaches over no more words than the data have beside it, see `Word2Vec.check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.tensors import TOKENS
from zoo.tasks.task import Mean, Metric, Objective, Seen
from zoo.tasks.words.vectors import WordVectors

if TYPE_CHECKING:
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.tasks.task import Batch, Networks


class Word2Vec(WordVectors):
    """The task of vectors of words.

    Attributes:
        predicts: `context`: each word predicts those near it (skip-gram); `word`: the mean of those
            near it predicts the word (CBOW).
        window: Words on each side, at most.
        negatives: Wrong words beside each right one.
        threshold: Share of the text above which a word is left out now and then; 0 leaves none out.
    """

    headline: ClassVar[Metric] = Metric("nats_per_pair", higher=False)

    kind: Literal["word2vec"] = "word2vec"
    predicts: Literal["context", "word"] = "context"
    window: Annotated[int, Field(ge=1, le=50)] = 5
    negatives: Annotated[int, Field(ge=1, le=50)] = 5
    threshold: Annotated[float, Field(ge=0, le=1)] = 1e-3

    def check(self, data: DataSet) -> None:
        """See `Task.check`: `window` words on each side, or up to twice as many to reach over."""
        column = data.columns.get(TOKENS)
        fits = range(2 * self.window + 1, 4 * self.window + 2, 2)
        if column is None or len(data.columns) > 1 or column.shape[0] not in fits:
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got word2vec, which learns a word with {self.window} to "
                f"{2 * self.window} words on each side; {data.name} has {has}. Write "
                f"data.text={{unit: word, form: contexts}} and data.size={2 * self.window}."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: how often each word occurs in the training part, too."""
        import numpy as np

        names = data.columns[TOKENS].names
        tokens = data.train[: len(data.train)][TOKENS]
        centres = tokens[:, tokens.shape[1] // 2]
        counts = np.bincount(centres, minlength=len(names))
        return {
            "input_shape": (1,),
            "num_classes": len(names),
            "counts": tuple(int(count) for count in counts),
        }

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`."""
        return (Objective(learns=("words", "contexts")),)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: how far a window reaches, who is left out, wrong answers."""
        from zoo.data.feeds.source import Draw

        pairs = 2 * self.window if self.predicts == "context" else 1
        return {
            "reach": Draw("uniform", (1,)),
            "left_out": Draw("uniform", (4 * self.window + 1,)),
            "wrong": Draw("uniform", (pairs * self.negatives,)),
        }

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: nats of each pair; in training, some words are left out."""
        nats, real = self._nats(networks, batch, leaves_out=training and self.threshold > 0)
        return Seen(Mean(nats, real), {"nats_per_pair": Mean(nats, real)})

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the nats of each pair (b, pairs), and whether it is one."""
        nats, real = self._nats(networks, batch, leaves_out=False)
        return {"loss": nats, "real": real}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: the words in the middle, (n, 1)."""
        tokens = columns[TOKENS]
        return tokens[:, tokens.shape[1] // 2, None]

    def _nats(self, networks: Networks, batch: Batch, *, leaves_out: bool) -> tuple[Any, Any]:
        """The nats of each pair (b, pairs), and whether it counts, 1 or 0."""
        from keras import ops

        tokens = batch[TOKENS]
        size = tokens.shape[1] // 2
        stays = tokens > 0
        if leaves_out:
            shares = _looked_up(networks["shares"], tokens)  # (b, 2 size + 1)
            rare = self.threshold / ops.maximum(shares, 1e-12)
            first = 2 * self.window - size  # of the draws, there are enough for twice the window
            drawn = batch["left_out"][:, first : first + 2 * size + 1]
            stays = ops.logical_and(stays, drawn < ops.sqrt(rare) + rare)
        centre = tokens[:, size]
        sides = [self._nearest(tokens, stays, range(size - 1, -1, -1)),
                 self._nearest(tokens, stays, range(size + 1, 2 * size + 1))]  # fmt: skip
        near, real = (ops.concatenate(parts, axis=1) for parts in zip(*sides, strict=True))
        away = ops.convert_to_tensor([*range(1, self.window + 1)] * 2, "float32")
        real = ops.logical_and(real, away[None] <= 1 + ops.floor(batch["reach"] * self.window))
        real = ops.logical_and(real, stays[:, size : size + 1])  # (b, 2 window)
        real = ops.cast(real, "float32")
        places = networks["wrong"].layers[1].input_dim
        wrong = ops.cast(batch["wrong"] * places, "int32")
        wrong = ops.cast(_looked_up(networks["wrong"], ops.minimum(wrong, places - 1)), "int32")
        if self.predicts == "context":
            given = _vectors(networks["words"], centre[:, None])  # (b, 1, size)
            right = near  # (b, pairs)
        else:
            around = _vectors(networks["words"], near) * real[..., None]
            num = ops.sum(real, axis=1, keepdims=True)  # (b, 1)
            whole = ops.sum(around, axis=1, keepdims=True)  # (b, 1, size)
            mean = whole / ops.maximum(num, 1)[..., None]
            given = whole - ops.stop_gradient(whole - mean)  # the mean, with the gradient of a sum
            right, real = centre[:, None], ops.cast(num > 0, "float32")
        wrong = ops.reshape(wrong, (-1, right.shape[1], self.negatives))  # (b, pairs, k)
        answers = ops.concatenate([right[..., None], wrong], axis=2)  # (b, pairs, 1 + k)
        found = _vectors(networks["contexts"], ops.reshape(answers, (ops.shape(answers)[0], -1)))
        scores = ops.matmul(found, ops.transpose(given, (0, 2, 1)))  # (b, pairs (1 + k), 1)
        scores = ops.reshape(scores, ops.shape(answers))
        counts = ops.cast(wrong != right[..., None], "float32")
        nats = ops.softplus(-scores[..., 0]) + ops.sum(ops.softplus(scores[..., 1:]) * counts, -1)
        return nats, real

    def _nearest(self, tokens: Any, stays: Any, places: range) -> tuple[Any, Any]:
        """The first words of a side that stay (b, window), the nearest first; whether there are."""
        from keras import ops

        side, kept = (ops.take(x, list(places), axis=1) for x in (tokens, stays))
        ranks = ops.arange(len(places), 0, -1, dtype="float32")
        ranks, order = ops.top_k(ops.cast(kept, "float32") * ranks[None], self.window)
        return ops.take_along_axis(side, order, axis=1), ranks > 0


def _vectors(network: Any, tokens: Any) -> Any:
    """The vectors of tokens (b, n), as (b, n, size)."""
    from keras import ops

    found = network(ops.reshape(tokens, (-1, 1)))
    return ops.cast(ops.reshape(found, (-1, tokens.shape[1], found.shape[-1])), "float32")


def _looked_up(network: Any, places: Any) -> Any:
    """The numbers of a table at places (b, n), alike."""
    from keras import ops

    return ops.reshape(network(ops.reshape(places, (-1, 1))), (-1, places.shape[1]))
