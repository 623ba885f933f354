"""How like real pictures made ones are: what adversarial games are measured by.

Measured are as many made pictures as a split has real ones, and those:

    frechet         the Frechet distance (Heusel et al. 2017, arXiv:1706.08500) of the features of a
                    small classifier of the training split (`zoo.tasks.games.judge`), which hardly
                    sees noise on a picture
    pixel_frechet   that of the pixels, in [0, 1], which hardly see shapes
    precision       share of made pictures that could be real ones, by the same features, and
    recall          share of real ones that could be made (Kynkaanniemi et al. 2019,
                    arXiv:1904.06991, k = 3)
    classes_made    classes that the judge sees at least a tenth as often as among real pictures
    novelty         how far the nearest training picture is, in the mean, over how far it is of real
                    pictures: 1 is as new as those, 0 is learnt by heart
    as_asked        share of made pictures that the judge takes for the class that was asked for;
                    chance where none is

Beside a distance stands its `_floor`, beside a share its `_ceiling`: that of as many real training
pictures, or of all. Distances fall with the number of pictures, so that only splits of one size
compare. The table `judge` names the classifier by the digest of what it learnt from.

Rows of a table have one Gaussian for each class, measured on the split: `precision` is the share of
made rows within three standard deviations of one, `classes_made` counts by those.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.frechet import frechet_distance
from zoo.metrics.neighbours import precision_and_recall
from zoo.tasks import made as pictures
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.games.judge import Judge

SEEN = 0.1  # of a class's share among real pictures: less is a class that is missing
SIGMAS = 3.0  # standard deviations within which a row is of a class
KNOWN = 20_000  # training pictures among which the nearest is looked for, at most


class Made:
    """Compares made pictures, or rows, with the real ones of a split.

    Args:
        columns: The data set's columns, by name.
        data: Whose training split teaches the judge; `None` measures the pixels without a floor.

    Attributes:
        judge: The classifier, once it was needed.
    """

    def __init__(self, columns: Mapping[str, Column], data: DataSet | None = None):
        self._columns, self._data = columns, data
        self._real: list[np.ndarray] = []
        self._made: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self.judge: Judge | None = None

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`; pictures may also be pixels, uint8."""
        if "image" in batch:
            self._real.append(_pixels(batch["image"]))
            self._made.append(_pixels(outputs))
        else:
            self._real.append(batch["features"])
            self._made.append(outputs)
        self._labels.append(batch["label"])

    def result(self) -> Evaluation:
        """Measures; the table `classes` counts what the judge sees in either set."""
        real, made, labels = map(np.concatenate, (self._real, self._made, self._labels))
        if real.ndim == 2:
            return _of_rows(real, made, labels, self._columns["label"].names)
        shown: dict[str, Any] = {"samples": partial(pictures.save, made[: pictures.SHOWN])}
        metrics = {"pixel_frechet": frechet_distance(_flat(real), _flat(made))}
        if self._data is None:
            return Evaluation(metrics, {}, shown)
        from zoo.tasks.games.judge import judge_of

        self.judge = judge = judge_of(_everything(self._data))
        names = self._columns["label"].names
        known = np.asarray(self._data.train[:KNOWN][self._data.input])
        others = known[: len(real)]
        (features, seen), (fakes, guessed) = judge.see(real), judge.see(made)
        trained = judge.see(others)[0]
        _, far = pictures.nearest(np.concatenate([made, real]), known)
        far, usual = np.split(far, [len(made)])
        counts = [np.bincount(found, minlength=len(names)) for found in (seen, guessed)]
        metrics |= {
            "pixel_frechet_floor": frechet_distance(_flat(real), _flat(others)),
            "frechet": frechet_distance(features, fakes),
            "frechet_floor": frechet_distance(features, trained),
            "classes_made": _classes_made(*counts),
            "as_asked": float((guessed == labels).mean()),
            "novelty": float(far.mean() / max(usual.mean(), 1e-9)),
        }
        few = 4  # points have a third neighbour
        if min(len(features), len(trained)) >= few:
            for end, points in (("", fakes), ("_ceiling", trained)):
                shares = precision_and_recall(features, points)
                metrics |= {f"precision{end}": shares[0], f"recall{end}": shares[1]}
        rows = [
            {"label": name, "real": int(one), "made": int(other)}
            for name, one, other in zip(names, *counts, strict=True)
        ]
        right = float((seen == labels).mean())
        tables = {"classes": rows, "judge": [{"digest": judge.digest, "top1": right}]}
        return Evaluation(metrics, tables, shown)


def _of_rows(
    real: np.ndarray, made: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> Evaluation:
    """Measures points, each class of which is a Gaussian with one deviation for all directions."""
    found = [number for number in range(len(names)) if (labels == number).sum() > 1]
    centres = np.stack([real[labels == number].mean(axis=0) for number in found])
    spread = [real[labels == number].std(axis=0).mean() for number in found]
    far = np.linalg.norm(made[:, None] - centres, axis=-1) / np.maximum(
        spread, 1e-9
    )  # (n, classes)
    within = far <= SIGMAS
    counts = np.array([(labels == number).sum() for number in found])
    metrics = {
        "frechet": frechet_distance(real, made),
        "precision": float(within.any(axis=1).mean()),
        "classes_made": _classes_made(counts, within.sum(axis=0)),
    }
    rows = [
        {
            "label": names[number],
            "real": int((labels == number).sum()),
            "made": int(within[:, place].sum()),
        }
        for place, number in enumerate(found)
    ]
    return Evaluation(metrics, {"classes": rows}, {"points": partial(_draw, real, made)})


def _draw(real: np.ndarray, made: np.ndarray, path: Path) -> None:
    """Writes a picture of the first two features, real in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    for points, colour, name in ((real, "0.7", "real"), (made, "tab:blue", "made")):
        axes.scatter(points[:, 0], points[:, 1], s=4, color=colour, label=name)
    axes.set_aspect("equal")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=100)


def _classes_made(real: np.ndarray, made: np.ndarray) -> float:
    """Number of classes of which there are made pictures, by counts of equally many pictures."""
    return float((made >= np.maximum(SEEN * real, 1))[real > 0].sum())


def _pixels(values: np.ndarray) -> np.ndarray:
    """Pictures in [-1, 1] as pixels; those that are pixels stay."""
    values = np.asarray(values)
    return values if values.dtype == np.uint8 else pictures.to_pixels(values, low=-1.0)


def _flat(pixels: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1], a row for each picture."""
    return pixels.reshape(len(pixels), -1) / 255.0


def _everything(data: DataSet) -> DataSet:
    """The data set without a limit: what the judge has learnt does not depend on the recipe's."""
    from zoo.data.loading import load
    from zoo.datasets import DATASETS

    if data.name not in DATASETS:
        return data
    size, channels = data.columns[data.input].shape[1:]
    stored = DATASETS[data.name].shape
    return load(
        data.name,
        size=None if size == stored[1] else size,
        channels=None if channels == stored[2] else channels,
    )
