"""An ellipse in a picture, e.g. a pupil of which a lid hides a part.

The network answers with six numbers: y and x of the centre in fractions of the picture's height and
width, the logarithms of the half-axes in fractions of the height, and cosine and sine of twice the
angle of the longer one, which unlike the angle do not jump where it turns by half a circle. What a
circle's angle is nobody knows: the angle counts in the loss by how far from a circle the true
ellipse is. Beside it stands what an ellipse gives that is fitted to the edge of the true mask
(`skimage.measure.EllipseModel`; Halir & Flusser 1998), where the data have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
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

PARTS = ("y", "x", "log_a", "log_b", "cos_2t", "sin_2t")
LEAST = 6  # points that an ellipse is fitted to
SHOWN = 12  # pictures that the meter keeps
HIDDEN = (0.0, 0.1, 0.2, 0.3, 0.4)  # ends of the rows of the table


class EllipseTask(Supervised):
    """The task of a network that places an ellipse.

    Attributes:
        delta: Where the Huber loss of the centre turns from a square to a line, in fractions of
            the picture's side; that of the logarithms and of the angle does at ten times as much.
    """

    headline: ClassVar[Metric] = Metric("centre_px", higher=False)
    targets: ClassVar[Mapping[str, str]] = {"ellipse": "ellipse"}

    kind: Literal["ellipse"] = "ellipse"
    delta: Annotated[float, Field(gt=0)] = 0.01

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`: the mask and what is hidden are for the table."""
        names = (data.input, "ellipse", "mask", "hidden")
        return tuple(name for name in names if name in data.columns)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"ellipse": Column("features", (len(PARTS),))}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: of each picture, (b,)."""
        return Mean(self._losses(batch["ellipse"], outputs, batch["image"].shape[1:3]))

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns the distance of the centres in pixels, (b,)."""
        from keras import ops

        side = ops.convert_to_tensor([float(x) for x in batch["image"].shape[1:3]])
        far = batch["ellipse"][:, :2] - ops.cast(outputs[:, :2], "float32") * side
        return {"centre_px": Mean(ops.sqrt(ops.sum(far**2, axis=-1)))}

    def meter(self, columns: Mapping[str, Column]) -> Beside:
        """See `Task.meter`."""
        return Beside(self, columns)

    def score(
        self, columns: Mapping[str, np.ndarray], outputs: Any, facts: Mapping[str, Column]
    ) -> Evaluation:
        """Measures medians over the pictures: `centre_px`, `axes_px` and `angle_degrees`.

        Args:
            columns: `ellipse` (n, 5); `mask` (n, h, w) and `hidden` (n,) where the data have them.
            outputs: (n, 6), see the module.
            facts: Tells the sides of the pictures.

        Returns:
            With `fit_centre_px`, the median of the ellipse that is fitted to the mask's edge, the
            lid's part of it too, and `arc_centre_px`, of one that is fitted to the pupil's own arc,
            which the truth tells apart: the most that a fit can know. And the table `by_hidden`:
            `from`, `to`, the three medians, `support`.
        """
        import numpy as np
        from keras import ops

        from zoo.data.sets.eyes import Ellipse

        side = next(iter(facts.values())).shape[:2]
        truth = columns["ellipse"]
        guesses = in_pixels(outputs, side)
        centre = np.hypot(*(truth[:, :2] - guesses[:, :2]).T)
        axes = np.abs(truth[:, 2:4] - guesses[:, 2:4]).mean(axis=1)
        turn = np.degrees(np.abs(truth[:, 4] - guesses[:, 4])) % 180
        turn = np.minimum(turn, 180 - turn)
        losses = ops.convert_to_numpy(self._losses(truth, outputs, side))
        metrics = {
            "loss": float(losses.mean(dtype="float64")),
            "centre_px": float(np.median(centre)),
            "axes_px": float(np.median(axes)),
            "angle_degrees": float(np.median(turn)),
        }
        tables: dict[str, Any] = {}
        if "mask" in columns and "hidden" in columns:
            edges = [_edge(mask) for mask in columns["mask"]]
            arcs = []
            for edge, row in zip(edges, truth, strict=True):
                far_out = np.abs(Ellipse(*row).radius(*edge.T) - 1) * row[2:4].min()  # in pixels
                arcs.append(edge[far_out <= 1])
            far = {"centre_px": centre}  # NaN where nothing can be fitted
            for name, points in (("fit_centre_px", edges), ("arc_centre_px", arcs)):
                fits = np.array([_fitted(edge) for edge in points])  # (n, 2)
                far[name] = np.hypot(*(truth[:, :2] - fits).T)
                metrics[name] = float(np.nanmedian(far[name]))
            tables["by_hidden"] = [
                {
                    "from": low,
                    "to": high,
                    **{name: float(np.nanmedian(values[own])) for name, values in far.items()},
                    "support": int(own.sum()),
                }
                for low, high in pairwise(HIDDEN)
                if (own := (columns["hidden"] >= low) & (columns["hidden"] < high)).any()
            ]
        return Evaluation(metrics, tables)

    def _losses(self, truth: Any, outputs: Any, side: Any) -> Any:
        """The loss of each picture, (n,)."""
        from keras import ops

        from zoo.losses.functions import exact

        guesses = exact(outputs)
        y, x, a, b, angle = (truth[:, index] for index in range(5))
        height, width = float(side[0]), float(side[1])
        centre = ops.stack([y / height, x / width], axis=-1)
        sizes = ops.log(ops.stack([a, b], axis=-1) / height)
        turn = ops.stack([ops.cos(2 * angle), ops.sin(2 * angle)], axis=-1)
        wide = 10 * self.delta
        places = _huber(centre - guesses[:, :2], self.delta)
        spans = _huber(sizes - guesses[:, 2:4], wide)
        turns = _huber(turn - guesses[:, 4:], wide) * (1 - b / a)
        return places / self.delta + (spans + turns) / wide


class Beside(Collected):
    """Collects ellipses, and what their table is made of."""

    def __init__(self, task: EllipseTask, columns: Mapping[str, Column]):
        super().__init__(task, columns)
        self._image = next(iter(columns))
        self._kept = KeptPictures(SHOWN)

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np

        names = ("ellipse", "mask", "hidden")
        self._targets.append({name: batch[name] for name in names if name in batch})
        self._outputs.append(outputs)
        images, truth = batch[self._image], batch["ellipse"]
        far = np.hypot(*(truth - in_pixels(outputs, images.shape[1:3]))[:, :2].T)
        self._kept.add(zip(images, truth, outputs, strict=True), far)

    def result(self) -> Evaluation:
        """See `EllipseTask.score`; with the picture `ellipses`: true ones above, others below.

        Those of `worst` have the farthest centres, in pixels.
        """
        found = super().result()
        return Evaluation(
            found.metrics,
            found.tables | self._kept.tables(),
            self._kept.pictures("ellipses", _draw),
        )


def in_pixels(outputs: np.ndarray, side: Any) -> np.ndarray:
    """Returns y, x, longer and shorter half-axis in pixels, and the angle in [0, pi), (n, 5).

    Args:
        outputs: (n, 6), see the module.
        side: Height and width of the picture.
    """
    import numpy as np

    centre = outputs[:, :2] * np.array(side, np.float32)
    axes = np.exp(np.clip(outputs[:, 2:4], -10, 2)) * side[0]
    angle = np.arctan2(outputs[:, 5], outputs[:, 4]) / 2 % np.pi
    return np.concatenate([centre, axes, angle[:, None]], axis=1)


def _draw(kept: list[tuple[Any, ...]], path: Any) -> None:
    """Draws pictures with the true ellipse, and below them with the one that was found."""
    from zoo.tasks import pictures

    rows: list[list[Any]] = [[], []]
    for image, truth, outputs in kept:
        found = in_pixels(outputs[None], image.shape[:2])[0]
        shown = pictures.shown(image)
        colours = pictures.TRUE, pictures.FOUND
        for row, ellipse, colour in zip(rows, (truth, found), colours, strict=True):
            row.append(pictures.draw_ellipse(shown, ellipse, colour=colour, times=2))
    pictures.grid(rows, path)


def _huber(x: Any, delta: float) -> Any:
    """The Huber loss, the mean of the last axis."""
    from keras import ops

    far = ops.abs(x)
    values = ops.where(far < delta, 0.5 * far**2, delta * (far - 0.5 * delta))
    return ops.mean(values, axis=-1)


def _edge(mask: np.ndarray) -> np.ndarray:
    """The longest edge of a mask, (points, 2) of y and x in pixels."""
    import numpy as np
    from skimage.measure import find_contours

    edges = find_contours(np.pad(mask == 1, 1).astype(float), 0.5)
    # A contour is of pixels' middles, and of a frame of one.
    return max(edges, key=len) - 0.5 if edges else np.zeros((0, 2))


def _fitted(edge: np.ndarray) -> tuple[float, float]:
    """The centre y, x of an ellipse that is fitted to points; NaN where it cannot be."""
    from skimage.measure import EllipseModel

    if len(edge) >= LEAST:
        model = EllipseModel.from_estimate(edge[:, ::-1])
        if model:
            x, y = model.center
            return float(y), float(x)
    return float("nan"), float("nan")
