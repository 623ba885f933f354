"""Classification and localisation: the class of the one object in a picture, and its box.

The network answers with two heads on one trunk (Sermanet et al. 2013, arXiv:1312.6229, section 4),
a mapping: `logits` (batch, classes) and `box` (batch, 4), y1 x1 y2 x2 in fractions of the picture's
height and width. Its box counts as found where it overlaps with the true one by half of their union
and the class is right, as the localisation task of ILSVRC counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.kept_pictures import KeptPictures
from zoo.tasks.supervised import Collected, Supervised, divided
from zoo.tasks.task import Evaluation, Mean, Metric, Seen

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch

ENOUGH = 0.5  # intersection over union from which on a box is found
SHOWN = 16  # pictures that the meter keeps


class Localise(Supervised):
    """The task of a network with a class and a box for an answer.

    Attributes:
        box_weight: Weight of the box in the loss, beside the cross-entropy of the class.
        box_delta: Where the Huber loss of a coordinate turns from a square to a line, in fractions
            of the picture's side.
    """

    headline: ClassVar[Metric] = Metric("localised", fraction=True)
    targets: ClassVar[Mapping[str, str]] = {"label": "class", "box": "box"}

    kind: Literal["localise"] = "localise"
    box_weight: Annotated[float, Field(ge=0)] = 10.0
    box_delta: Annotated[float, Field(gt=0)] = 0.02

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: one logit for each class."""
        return super().sizes(data) | {"num_classes": len(data.columns["label"].names)}

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: the box is in fractions of the picture's sides."""
        return {"logits": data.columns["label"], "box": data.columns["box"]}

    def logits(self, outputs: Any) -> Any:
        """See `Supervised.logits`: the box stays."""
        return {**outputs, "logits": super().logits(outputs["logits"])}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: of each example, (b,)."""
        return Mean(self._losses(batch["label"], _fractions(batch), _heads(outputs)))

    def judge(self, batch: Batch, outputs: Any) -> Seen:
        """See `Supervised.judge`: where each class has a box, that of the true one learns."""
        from keras import ops

        main, boxes = divided(outputs)
        if not boxes:
            return super().judge(batch, outputs)
        own = ops.one_hot(batch["label"], boxes[0].shape[1], dtype=boxes[0].dtype)
        true = ops.sum(boxes[0] * own[..., None], axis=1)
        loss = self.loss_of(batch, {**main, "box": true})
        return Seen(loss, {"loss": loss, **self.measures(batch, main)})

    def chosen(self, outputs: Any) -> Any:
        """See `Task.chosen`: the largest of `logits`."""
        return _heads(outputs)["logits"].argmax(axis=-1)

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns whether the class is right, the boxes' IoU, and whether both are; each (b,)."""
        from keras import ops

        from zoo.metrics.boxes import iou

        heads = _heads(outputs)
        guesses = ops.argmax(heads["logits"], axis=-1)
        right = ops.cast(guesses == ops.cast(batch["label"], guesses.dtype), "float32")
        overlap = iou(ops.cast(heads["box"], "float32"), _fractions(batch))
        found = right * ops.cast(overlap >= ENOUGH, "float32")
        return {"top1": Mean(right), "iou": Mean(overlap), "localised": Mean(found)}

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures `loss`, `top1`, `iou`, the mean over the boxes, and `localised`.

        Args:
            columns: `label` (n,), and `box` (n, 4) in pixels.
            outputs: `logits` (n, classes), and `box` (n, 4) in fractions.
            facts: Names the classes, and tells the sides of the pictures.

        Returns:
            With the tables `per_class` (`label`, `top1`, `iou`, `localised` and `support`) and
            `confusion` (counts; rows are true classes).
        """
        import numpy as np
        from keras import ops

        from zoo.metrics.boxes import iou
        from zoo.metrics.classification import confusion_matrix

        heads, labels = _heads(outputs), columns["label"]
        boxes = columns["box"] / _sides(next(iter(facts.values())).shape)
        losses = ops.convert_to_numpy(self._losses(labels, boxes, heads))
        guesses = heads["logits"].argmax(axis=-1)
        overlap = ops.convert_to_numpy(iou(heads["box"], boxes))
        right = guesses == labels
        each = {"top1": right, "iou": overlap, "localised": right & (overlap >= ENOUGH)}
        names = facts["label"].names
        table = []
        for index, name in enumerate(names):
            own = labels == index
            means = {key: float(x[own].mean()) if own.any() else None for key, x in each.items()}
            table.append({"label": name, **means, "support": int(own.sum())})
        metrics = {"loss": losses, **each}
        return Evaluation(
            {name: float(np.mean(values, dtype="float64")) for name, values in metrics.items()},
            {
                "per_class": table,
                "confusion": confusion_matrix(labels, guesses, len(names)).tolist(),
            },
        )

    def meter(self, columns: Mapping[str, Column]) -> Boxes:
        """See `Task.meter`."""
        return Boxes(self, columns)

    def _losses(self, labels: Any, boxes: Any, heads: Mapping[str, Any]) -> Any:
        """The loss of each example (b,); boxes are in fractions."""
        import keras
        from keras import ops

        from zoo.losses.functions import exact

        logits, guesses = exact(self.logits(heads)["logits"]), exact(heads["box"])
        classes = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        places = keras.losses.huber(boxes, guesses, delta=self.box_delta)  # mean of four
        # Divided by delta, the line has slope 1, whatever its beginning.
        return classes + self.box_weight * places / self.box_delta


class Boxes(Collected):
    """Collects classes and boxes, and some pictures to draw them in."""

    def __init__(self, task: Localise, columns: Mapping[str, Column]):
        super().__init__(task, columns)
        self._image, self._names = next(iter(columns)), columns["label"].names
        self._kept = KeptPictures(SHOWN)

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np
        from keras import ops

        from zoo.metrics.boxes import iou

        super().add(batch, outputs)
        heads, images = _heads(outputs), batch[self._image]
        right = heads["logits"].argmax(axis=-1) == batch["label"]
        overlap = ops.convert_to_numpy(iou(heads["box"], batch["box"] / _sides(images.shape[1:])))
        columns = images, batch["box"], heads["logits"], heads["box"]
        self._kept.add(zip(*columns, strict=True), 1 - np.where(right, overlap, 0))

    def result(self) -> Evaluation:
        """See `Localise.score`; with the picture `boxes`, true ones blue, guessed ones vermilion.

        Those of `worst` have the least IoU; where the class is wrong it counts as 0.
        """
        found = super().result()
        return Evaluation(
            found.metrics,
            found.tables | self._kept.tables(),
            self._kept.pictures("boxes", _draw, self._names),
        )


def _draw(rows: list[tuple[Any, ...]], names: tuple[str, ...], path: Any) -> None:
    """Draws pictures with the true and the guessed box."""
    import numpy as np

    from zoo.tasks import pictures

    drawn = []
    for image, box, logits, guess in rows:
        boxes = np.stack([box, guess * _sides(image.shape)])
        words = ["", names[int(logits.argmax())]]
        drawn.append(
            pictures.draw_boxes(
                pictures.shown(image),
                boxes,
                words,
                colours=(pictures.TRUE, pictures.FOUND),
                times=2,
            )
        )
    half = -(-len(drawn) // 2)
    pictures.grid([row for row in (drawn[:half], drawn[half:]) if row], path)


def _heads(outputs: Any) -> Mapping[str, Any]:
    """The two heads of a network, or a line that says what there is."""
    names = set(outputs) if isinstance(outputs, Mapping) else {"one output"}
    if names != {"logits", "box"}:
        raise ValueError(
            f"localise: got a network with {', '.join(sorted(names))}; expected the outputs logits "
            "and box. Take a network for localisation, e.g. locator."
        )
    return outputs


def _sides(shape: Any) -> np.ndarray:
    """Height and width of a picture, twice: what a box in pixels is divided by, (4,)."""
    import numpy as np

    return np.array([shape[0], shape[1]] * 2, np.float32)


def _fractions(batch: Batch) -> Any:
    """The true boxes in fractions of the picture's sides, (b, 4)."""
    from keras import ops

    return ops.cast(batch["box"], "float32") / _sides(batch["image"].shape[1:3])
