"""Dense captioning: a box and a phrase for each thing in a picture.

Source: Johnson, Karpathy & Fei-Fei 2016, DenseCap, arXiv:1511.07571, section 3. Boxes are learnt as
a detector's with one class (`zoo.tasks.places.detect`); of each region that is one of a thing, the
words of that thing's phrase are learnt, given the true words before them. Differs: see
`zoo.tasks.places.detect`; words are learnt of the best regions, as many as the answer has boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.columns import Column
from zoo.common.sentences import MARKS, PADDING
from zoo.common.tensors import LOGITS, PICTURE
from zoo.tasks.places.detect import Anchored, anchors_of, learnt
from zoo.tasks.supervised import run
from zoo.tasks.task import Mean, Seen
from zoo.tasks.words import telling

if TYPE_CHECKING:
    import keras

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks
    from zoo.tasks.words.described import Phrases

TARGET = "phrases"


class DenseCaption(Anchored):
    """The task of a dense captioner.

    Attributes:
        caption_weight: Weight of the words' loss, the mean over tokens in nats; the paper weighs it
            ten times as much as each of the others.
    """

    targets: ClassVar[Mapping[str, str]] = {
        "boxes": "boxes",
        "classes": "classes",
        TARGET: TARGET,
    }

    kind: Literal["dense_caption"] = "dense_caption"
    caption_weight: Annotated[float, Field(ge=0)] = 10.0

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        names = data.columns[TARGET].names
        if names[: len(MARKS)] != MARKS:
            raise ValueError(
                f"task.kind: got dense_caption, whose vocabulary begins with {', '.join(MARKS)}; "
                f"that of {data.name} with {', '.join(names[: len(MARKS)])}. Take another data set,"
                " e.g. digit_scenes_phrases."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: an output for each word, and tokens for the longest phrase."""
        column = data.columns[TARGET]
        sizes = {"num_classes": len(column.names), "length": (column.shape[1] or 1) - 1}
        return super().sizes(data) | sizes

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`."""
        # By the instances a box is known when its picture has turned.
        names = (data.input, *self.targets, "instances")
        return tuple(name for name in names if name in data.columns)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        column = data.columns[TARGET]
        return {
            "boxes": Column("boxes", (None, 4)),
            "scores": Column("scores", (None,)),
            TARGET: Column(TARGET, (None, (column.shape[1] or 1) - 1), column.names),
        }

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the losses of each picture, (b,)."""
        from keras import ops

        from zoo.tasks.places import detection_loss

        net = networks["net"]
        heads = run(learnt(net), batch, training=training)
        classes = ops.minimum(batch["classes"], 0)  # a thing is a thing
        truth = detection_loss.Truth(batch["boxes"], classes)
        losses = detection_loss.losses(self, heads, truth, anchors_of(net))
        found, _, _ = detection_loss.matched(self, heads["regions"], truth)
        best = net.output["boxes"].shape[1]
        which, positive = found.which[:, :best], found.positive[:, :best]
        pictures = heads["pictures"][:, :best]  # (b, best, units)
        words = ops.take_along_axis(batch[TARGET], which[..., None], axis=1)  # (b, best, 1 + time)
        words = ops.reshape(words, (-1, words.shape[-1]))
        nats, hits = _told(net, pictures, words, training=training)  # (b * best, time)
        real = ops.cast(words[:, 1:] != PADDING, "float32") * ops.reshape(positive, (-1, 1))
        time = real.shape[1]
        nats, hits, real = (ops.reshape(x, (-1, best * time)) for x in (nats, hits, real))
        count = ops.sum(real, axis=1)
        losses["caption_loss"] = ops.sum(nats * real, axis=1) / ops.maximum(count, 1)
        total = sum(weight * losses[name] for name, weight in self.weights().items())
        measures = {name: Mean(values) for name, values in losses.items()}
        said = {"caption_loss": Mean(nats, real), "caption_top1": Mean(hits, real)}  # of tokens
        return Seen(Mean(total), measures | said)

    def weights(self) -> dict[str, float]:
        """Returns the weight of each part of the loss, by name."""
        return {**super().weights(), "caption_loss": self.caption_weight}

    def meter(self, columns: Mapping[str, Column]) -> Phrases:  # type: ignore[override]
        """See `Task.meter`."""
        from zoo.tasks.words.described import Phrases

        return Phrases(columns)


def _told(net: keras.Model, pictures: Any, words: Any, *, training: bool) -> tuple[Any, Any]:
    """The nats of each true token given those before it, and whether it is the likeliest.

    Args:
        net: A dense captioner.
        pictures: What its decoder reads of each region, (b, best, units).
        words: Tokens from the start on, (b * best, 1 + time).
        training: Whether to run as in training.
    """
    from keras import ops

    decoder = net.get_layer("decoder")
    seen = {PICTURE: ops.reshape(pictures, (-1, pictures.shape[-1]))}
    known = telling.begin_from(decoder, seen, training=training)
    found = telling.along(decoder, known, words[:, :-1], training=training)
    logits, targets = ops.cast(found[LOGITS], "float32"), words[:, 1:]
    nats = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    hits = ops.cast(ops.argmax(logits, axis=-1), targets.dtype) == targets
    return nats, ops.cast(hits, "float32")
