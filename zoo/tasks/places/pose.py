"""Pose: where some points are in a picture, each of its own meaning.

Sources: Toshev & Szegedy 2014, DeepPose, arXiv:1312.4659, section 3; Yang & Ramanan 2013, TPAMI
35(12), for the measure, the percentage of correct keypoints. The network answers with y and x of
each point in fractions of the picture's height and width, (batch, points, 2); earlier stages of a
cascade are auxiliary outputs of the same form. A point is found where it is no further from the
true one than a share of the longer side of the box around all true points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.columns import Column
from zoo.tasks.kept_pictures import KeptPictures
from zoo.tasks.supervised import Collected, Supervised
from zoo.tasks.task import Evaluation, Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch


SHOWN = 12  # pictures that the meter keeps


class Pose(Supervised):
    """The task of a network that places points.

    Attributes:
        delta: Where the Huber loss of a coordinate turns from a square to a line, in fractions of
            the picture's side.
        near: Distance up to which a point is found, as a share of the longer side of the box around
            the true points.
    """

    headline: ClassVar[Metric] = Metric("pck", fraction=True)
    measured_by: ClassVar[tuple[str, ...]] = ("near",)
    targets: ClassVar[Mapping[str, str]] = {"points": "points"}

    kind: Literal["pose"] = "pose"
    delta: Annotated[float, Field(gt=0)] = 0.02
    near: Annotated[float, Field(gt=0, le=1)] = 0.1

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: `num_classes` is the number of points."""
        return super().sizes(data) | {"num_classes": data.columns["points"].shape[0]}

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`."""
        return (data.input, "points")

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: in fractions of the picture's sides."""
        return {"points": data.columns["points"]}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: of each point, (b, points)."""
        return Mean(self._losses(_fractions(batch), outputs))

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns whether each point is found, and its distance in pixels; each (b, points)."""
        from keras import ops

        side = batch["image"].shape[1:3]
        found, far = self._found(_fractions(batch), ops.cast(outputs, "float32"), side)
        return {"pck": Mean(ops.cast(found, "float32")), "distance_px": Mean(far)}

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures `loss`, `pck` and `distance_px`, the mean over all points.

        Args:
            columns: `points` (n, points, 2) in pixels.
            outputs: (n, points, 2) in fractions.
            facts: Tells the sides of the pictures.

        Returns:
            With the table `per_point`: `point`, `pck`, `distance_px` and `median_px`.
        """
        import numpy as np
        from keras import ops

        height, width = next(iter(facts.values())).shape[:2]
        truth = columns["points"] / np.array([height, width], np.float32)
        found, far = (ops.convert_to_numpy(x) for x in self._found(truth, outputs, (height, width)))
        losses = ops.convert_to_numpy(self._losses(truth, outputs))
        rows = [
            {
                "point": index,
                "pck": float(found[:, index].mean()),
                "distance_px": float(far[:, index].mean()),
                "median_px": float(np.median(far[:, index])),
            }
            for index in range(found.shape[1])
        ]
        means = {"loss": losses, "pck": found, "distance_px": far}
        return Evaluation(
            {name: float(np.mean(values, dtype="float64")) for name, values in means.items()},
            {"per_point": rows},
        )

    def meter(self, columns: Mapping[str, Column]) -> Placed:
        """See `Task.meter`."""
        return Placed(self, columns)

    def _losses(self, truth: Any, outputs: Any) -> Any:
        import keras

        from zoo.losses.functions import exact

        # Divided by delta, the line has slope 1, whatever its beginning; the mean of y and x.
        return keras.losses.huber(truth, exact(outputs), delta=self.delta) / self.delta

    def _found(self, truth: Any, guesses: Any, side: Any) -> tuple[Any, Any]:
        """Whether each point is found, and its distance in pixels, (n, points)."""
        from keras import ops

        scale = ops.convert_to_tensor([float(side[0]), float(side[1])])
        truth, guesses = truth * scale, guesses * scale
        far = ops.sqrt(ops.sum((truth - guesses) ** 2, axis=-1))
        spans = ops.max(truth, axis=1) - ops.min(truth, axis=1)  # (n, 2)
        return far <= self.near * ops.max(spans, axis=-1, keepdims=True), far


class Placed(Collected):
    """Collects points, and some pictures to draw them in."""

    def __init__(self, task: Pose, columns: Mapping[str, Column]):
        super().__init__(task, columns)
        self._image = next(iter(columns))
        self._kept = KeptPictures(SHOWN)

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np

        super().add(batch, outputs)
        images, truth = batch[self._image], batch["points"]
        far = np.linalg.norm(truth - outputs * images.shape[1:3], axis=-1).mean(axis=1)
        self._kept.add(zip(images, truth, outputs, strict=True), far)

    def result(self) -> Evaluation:
        """See `Pose.score`; with the picture `points`: true ones above, those found below.

        Those of `worst` have the farthest points, in pixels in the mean.
        """
        found = super().result()
        return Evaluation(
            found.metrics,
            found.tables | self._kept.tables(),
            self._kept.pictures("points", _draw),
        )


def _draw(kept: list[tuple[Any, ...]], path: Any) -> None:
    """Draws pictures with a mark at each true point, and below them at each that was found."""
    import numpy as np

    from zoo.tasks import pictures

    rows: list[list[Any]] = [[], []]
    for image, truth, outputs in kept:
        found = outputs * np.array(image.shape[:2], np.float32)
        for row, points in zip(rows, (truth, found), strict=True):
            boxes = np.concatenate([points - 1, points + 1], axis=1)
            row.append(pictures.draw_boxes(pictures.shown(image), boxes, times=2))
    pictures.grid(rows, path)


def _fractions(batch: Batch) -> Any:
    """The true points in fractions of the picture's sides, (b, points, 2)."""
    from keras import ops

    height, width = batch["image"].shape[1:3]
    return batch["points"] / ops.convert_to_tensor([float(height), float(width)])
