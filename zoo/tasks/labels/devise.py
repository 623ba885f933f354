"""DeViSE: pictures named by words, also those of classes that no training picture showed.

Source: Frome et al. 2013, NIPS 26, equation 1: a hinge for each wrong class whose word's product
with the picture's vector comes nearer than `margin` to the true one's. Differs: all wrong classes
count, where the paper draws them one after another until one is too near; the vector of a class of
several words is the mean of theirs (`zoo.data.texts.word_vectors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.supervised import Supervised
from zoo.tasks.task import Evaluation, Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch

MADE = "made"


class DeViSE(Supervised):
    """The task of a network whose last layer are words' vectors, or of its baseline.

    Attributes:
        loss: `rank`, the hinge; `cross_entropy` of the seen classes, of a network without words.
        margin: How much nearer the true word has to be.
        unseen: So many of the last classes have no training picture, and are no wrong answers in
            the loss.
        vectors: `made`, those of `zoo.data.texts.word_vectors`; or the path of a file of them, or
            of a bundle that has learnt them, e.g. of word2vec.
        size: Numbers of a vector that is made.
    """

    headline: ClassVar[Metric] = Metric("hit5_unseen", fraction=True)
    targets: ClassVar[Mapping[str, str]] = {"label": "class"}

    kind: Literal["devise"] = "devise"
    loss: Literal["rank", "cross_entropy"] = "rank"
    margin: Annotated[float, Field(gt=0)] = 0.1
    unseen: Annotated[int, Field(ge=0)] = 12
    vectors: str = MADE
    size: Annotated[int, Field(ge=1)] = 16

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        names = data.columns["label"].names
        if self.unseen > len(names) - 2:
            raise ValueError(
                f"task.unseen: got {self.unseen}; expected 0 to {len(names) - 2}, as {data.name} "
                f"has {len(names)} classes."
            )
        if int(data.train["label"].max()) >= len(names) - self.unseen:
            raise ValueError(
                f"task.unseen: got {self.unseen}; the training part of {data.name} has pictures of "
                "the last classes. Write task.unseen=0, or take coloured_digits."
            )
        if self.loss == "rank":
            self._vectors(names)

    def figure(
        self, metrics: Mapping[str, float], tables: Mapping[str, Any]
    ) -> tuple[str, int | None]:
        """See `Task.figure`: of pictures of unseen classes."""
        counts = {row["classes"]: row["pictures"] for row in tables.get("hits", ())}
        return self.headline.name, counts.get("unseen")

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: a network with words gets their vectors."""
        names = data.columns["label"].names
        found = super().sizes(data) | {"num_classes": len(names)}
        if self.loss == "cross_entropy":
            return found
        vectors = self._vectors(names)
        return found | {"vectors": tuple(map(tuple, vectors.tolist())), "size": vectors.shape[1]}

    def _vectors(self, names: tuple[str, ...]) -> np.ndarray:
        from zoo.data.texts import word_vectors
        from zoo.tasks.words import vectors

        path = Path(self.vectors).expanduser()
        if self.vectors == MADE:
            known = word_vectors.made(self.size)
        elif path.is_dir():
            known = vectors.of_bundle(path)
        else:
            words = {word for name in names for word in name.split()}
            known = word_vectors.read(path, words=words)
        return word_vectors.of_names(names, known)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"logits": data.columns["label"]}

    def chosen(self, outputs: Any) -> Any:
        """See `Task.chosen`: the nearest word."""
        return outputs.argmax(axis=-1)

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`; examples of unseen classes, in a validation, do not count."""
        from keras import ops

        num = outputs.shape[-1] - self.unseen
        labels, scores = batch["label"], outputs[:, :num]
        seen = ops.cast(labels < num, "float32")
        one_hot = ops.one_hot(ops.minimum(labels, num - 1), num)  # (b, classes)
        if self.loss == "cross_entropy":
            return Mean(ops.categorical_crossentropy(one_hot, scores, from_logits=True), seen)
        true = ops.sum(one_hot * scores, axis=1, keepdims=True)
        hinges = ops.relu(self.margin - true + scores) * (1 - one_hot)
        return Mean(ops.sum(hinges, axis=1), seen)

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns whether each label is the nearest word of all, or among five, (b,)."""
        from keras import ops

        _, best = ops.top_k(outputs, min(5, outputs.shape[-1]))
        hits = ops.cast(best == ops.cast(batch["label"], best.dtype)[:, None], "float32")
        return {"hit1": Mean(hits[:, 0]), "hit5": Mean(ops.sum(hits, axis=1))}

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures `hit1` and `hit5` of seen and of unseen classes, among all classes.

        Each is the share of pictures whose class is the nearest word, or among the nearest five.
        The table `hits` has unseen ones among the unseen alone too, and the chance of a guess.
        """
        import numpy as np
        from keras import ops

        labels, num = columns["label"], outputs.shape[1]
        known = num - self.unseen
        is_seen = labels < known
        loss = self.loss_of({"label": labels}, outputs)
        values, weights = (ops.convert_to_numpy(x).astype("float64") for x in loss)
        metrics = {"loss": float((values * weights).sum() / max(weights.sum(), 1))}
        table = []
        for which, rows, first in (
            ("seen", is_seen, 0), ("unseen", ~is_seen, 0), ("unseen, of these", ~is_seen, known),
        ):  # fmt: skip
            if not rows.any():
                continue
            order = np.argsort(-outputs[rows][:, first:], axis=1, kind="stable") + first
            found = order == labels[rows][:, None]
            hits = {f"hit{k}": float(found[:, :k].any(axis=1).mean()) for k in (1, 5)}
            chances = {f"chance{k}": min(1.0, k / (num - first)) for k in (1, 5)}
            table.append({"classes": which, "pictures": int(rows.sum()), **hits, **chances})
            if first == 0:
                metrics |= {f"{name}_{which}": value for name, value in hits.items()}
        return Evaluation(metrics, {"hits": table})
