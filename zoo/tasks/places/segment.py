"""Segmentation: a class for every pixel.

The network answers with logits (batch, height, width, classes). Where its convolutions do not pad,
its answer is smaller than the picture and stands for the middle of it (Ronneberger et al. 2015,
arXiv:1505.04597, fig. 2): the mask is cropped to that. Class 0 is the background. Intersection over
union is that of sums over a whole split, not a mean over pictures.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.columns import IGNORED
from zoo.tasks.kept_pictures import KeptPictures
from zoo.tasks.supervised import Supervised
from zoo.tasks.task import Evaluation, Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch

SHOWN = 8  # pictures that the meter keeps
LOG = logging.getLogger("zoo")


class Segment(Supervised):
    """The task of a network that classifies pixels, by the mean cross-entropy of all of them.

    Attributes:
        foreground: Whether all classes but the background are one.
        dice: Weight of the soft Dice loss, which is added: where few pixels are of a class,
            cross-entropy alone says background.
    """

    targets: ClassVar[Mapping[str, str]] = {"mask": "mask"}

    kind: Literal["segment"] = "segment"
    foreground: bool = False
    dice: Annotated[float, Field(ge=0)] = 0.0

    @property
    def headline(self) -> Metric:  # type: ignore[override]
        """See `Task`: with several classes, IoU of each counts, of the rare ones as of the others.

        Foreground against background says nothing of which class was found.
        """
        return Metric("foreground_iou" if self.foreground else "mean_iou", fraction=True)

    def names(self, column: Column) -> tuple[str, ...]:
        """Returns the names of the classes that are told apart."""
        return (column.names[0], "foreground") if self.foreground else column.names

    def check(self, data: DataSet) -> None:
        """See `Task.check`; tells where several classes are learnt as one."""
        super().check(data)
        count = len(data.columns["mask"].names) - 1
        if self.foreground and count > 1:
            LOG.info(
                "task.foreground: the %d classes of %s are learnt as one; false tells them apart",
                count, data.name,
            )  # fmt: skip

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: one output for each class."""
        return super().sizes(data) | {"num_classes": len(self.names(data.columns["mask"]))}

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`: boxes, which a picture's motion would not move, are left out."""
        return (data.input, "mask")

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: the mask is as large as the network makes it."""
        column = data.columns["mask"]
        return {"logits": column._replace(shape=(None, None), names=self.names(column))}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: of each pixel, (b, height, width)."""
        from keras import ops

        from zoo.losses.functions import exact

        labels, known = self._labels(batch, outputs)
        logits = exact(self.logits(outputs))
        values = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if self.dice:
            values = values + self.dice * soft_dice(labels, logits, known)[:, None, None]
        return Mean(values, known)

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns pixel accuracy and foreground IoU, of pixels (b, height, width)."""
        from keras import ops

        labels, known = self._labels(batch, outputs)
        guesses = ops.cast(ops.argmax(outputs, axis=-1), labels.dtype)
        both = ops.logical_and(labels > 0, guesses > 0)
        either = ops.cast(ops.logical_or(labels > 0, guesses > 0), "float32")
        # The mean of the intersection, each pixel weighing its share of the union, is their ratio.
        return {
            "pixel_accuracy": Mean(ops.cast(labels == guesses, "float32"), known),
            "foreground_iou": Mean(ops.cast(both, "float32"), known * either),
        }

    def meter(self, columns: Mapping[str, Column]) -> Masks:  # type: ignore[override]
        """See `Task.meter`: keeps counts of pixels, not the answers."""
        return Masks(self, columns)

    def _labels(self, batch: Batch, outputs: Any) -> tuple[Any, Any]:
        """Classes of the pixels that the network answers for, and 0 or 1 for whether they count.

        Both (b, height, width): int32 and float32; a pixel that does not count is of class 0.
        """
        from keras import ops

        mask = ops.cast(middle(batch["mask"], outputs.shape), "int32")
        known = mask != IGNORED
        labels = ops.where(known, mask, 0)
        if self.foreground:
            labels = ops.minimum(labels, 1)
        return labels, ops.cast(known, "float32")


def soft_dice(labels: Any, logits: Any, known: Any) -> Any:
    """Returns 1 less the soft Dice coefficient of each picture, (b,), in [0, 1].

    It is the mean over the classes behind the background that are in the picture, 0 where there is
    none (Milletari, Navab & Ahmadi 2016, V-Net, arXiv:1606.04797, section 3, which has one class).
    What is found of other classes is left to the cross-entropy.

    Args:
        labels: Classes (b, height, width).
        logits: (b, height, width, classes).
        known: Whether a pixel counts, 0 or 1, (b, height, width).
    """
    import keras
    from keras import ops

    known = ops.cast(known, logits.dtype)
    shares = ops.softmax(logits, axis=-1)[..., 1:] * known[..., None]
    true = ops.one_hot(labels, logits.shape[-1], dtype=shares.dtype)[..., 1:] * known[..., None]
    both, sizes = (ops.sum(x, axis=(1, 2)) for x in (shares * true, shares**2 + true**2))
    seen = ops.cast(ops.any(true > 0, axis=(1, 2)), shares.dtype)  # (b, classes - 1)
    lost = seen * (1 - 2 * both / ops.maximum(sizes, keras.config.epsilon()))
    return ops.sum(lost, axis=-1) / ops.maximum(ops.sum(seen, axis=-1), 1)


class Masks:
    """Counts pixels batch by batch.

    Args:
        task: Says what a class is.
        columns: The data set's columns, by name.
    """

    def __init__(self, task: Segment, columns: Mapping[str, Column]):
        import numpy as np

        self._task, self._names = task, task.names(columns["mask"])
        self._image = next(iter(columns))
        self._counts = np.zeros((len(self._names),) * 2, np.int64)
        self._lines = np.zeros((len(self._names), 4), np.int64)  # pixels of boundaries
        self._loss = np.zeros(2)  # the sum over pixels, and their number
        self._kept = KeptPictures(SHOWN)

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: `mask` and the pictures.
            outputs: Logits (b, height, width, classes).
        """
        import keras
        import numpy as np

        from zoo.metrics.segmentation import count_boundaries, count_pixels, mean_iou

        guesses = outputs.argmax(axis=-1).astype(np.uint8)  # (b, height, width)
        masks = middle(batch["mask"], outputs.shape)
        if self._task.foreground:
            masks = np.where(masks == IGNORED, masks, np.minimum(masks, 1))
        pairs = zip(masks, guesses, strict=True)
        counts = [count_pixels(*pair, len(self._names)) for pair in pairs]  # of each picture
        self._counts += np.sum(counts, axis=0)
        self._lines += count_boundaries(masks, guesses, len(self._names))
        losses, known = self._task.loss_of(batch, outputs)
        values, weights = (keras.ops.convert_to_numpy(x).astype("float64") for x in (losses, known))
        self._loss += (values * weights).sum(), weights.sum()
        rows = zip(batch[self._image], masks, guesses, strict=True)
        self._kept.add(rows, [1 - mean_iou(own) if own.any() else 0 for own in counts])

    def result(self) -> Evaluation:
        """Measures the loss and what `zoo.metrics.segmentation` does.

        Returns:
            With the tables `per_class` (`label`, `iou`, `dice` and `pixels`; the IoU and Dice of a
            class that is nowhere are `None`), `confusion` (counts of pixels; rows are true
            classes) and `worst`, and the pictures `confusion`, `masks`, with the true mask above
            the guessed one, and `worst`, which has those of the lowest mean IoU of their own.
        """
        import numpy as np

        from zoo.metrics import segmentation
        from zoo.tasks import plots

        counts = self._counts
        shares = zip(segmentation.class_iou(counts), segmentation.class_dice(counts), strict=True)
        each = [tuple(None if np.isnan(x) else float(x) for x in pair) for pair in shares]
        rows = [
            {"label": name, "iou": iou, "dice": dice, "pixels": pixels}
            for name, (iou, dice), pixels in zip(
                self._names, each, counts.sum(axis=1).tolist(), strict=True
            )
        ]
        return Evaluation(
            {
                "loss": float(self._loss[0] / max(self._loss[1], 1)),
                "pixel_accuracy": segmentation.pixel_accuracy(counts),
                "foreground_iou": segmentation.foreground_iou(counts),
                "mean_iou": segmentation.mean_iou(counts),
                "frequency_iou": segmentation.frequency_iou(counts),
                "mean_accuracy": segmentation.mean_accuracy(counts),
                "mean_dice": segmentation.mean_dice(counts),
                "boundary_f": segmentation.boundary_f(self._lines),
            },
            {"per_class": rows, "confusion": counts.tolist(), **self._kept.tables()},
            {
                "confusion": partial(plots.confusion, counts, self._names, percent=True),
                **self._kept.pictures("masks", _draw, len(self._names)),
            },
        )


def _draw(kept: list[tuple[np.ndarray, ...]], num_classes: int, path: Any) -> None:
    """Draws pictures with their true masks, and below them with the guessed ones."""
    from zoo.tasks import pictures

    images = [pictures.shown(image) for image, _, _ in kept]
    rows = [
        [
            pictures.enlarged(pictures.overlay(image, masks[which], num_classes), 2)
            for image, (_, *masks) in zip(images, kept, strict=True)
        ]
        for which in (0, 1)
    ]
    pictures.grid(rows, path)


def middle(masks: Any, shape: Any) -> Any:
    """Returns the middle of masks, as large as an answer.

    Args:
        masks: (b, h, w).
        shape: Shape of the answer, (b, height, width, classes).

    Raises:
        ValueError: The answer is larger than the masks, or is not of maps.
    """
    if len(shape) != 4 or shape[1] > masks.shape[1] or shape[2] > masks.shape[2]:
        raise ValueError(
            f"segment: got outputs {tuple(shape)} for masks {tuple(masks.shape)}; expected logits "
            "(batch, height, width, classes), not larger than the masks. Take a network for "
            "segmentation, e.g. unet_small."
        )
    top, left = (masks.shape[1] - shape[1]) // 2, (masks.shape[2] - shape[2]) // 2
    return masks[:, top : top + shape[1], left : left + shape[2]]
