"""The adversarial game: a generator makes pictures of noise, a discriminator tells them from real.

Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1, with the generator's loss that does
not saturate (section 3): it maximises log D(G(z)). Each of the two draws noise of its own.

Neither loss says how good the pictures are. What is measured is the Frechet distance (Heusel et al.
2017, arXiv:1706.08500) between as many made pictures as a split has real ones, and those:

    frechet         by the features of a small classifier of the training split (`zoo.tasks.judge`),
                    which hardly sees noise on a picture
    pixel_frechet   by the pixels, in [0, 1], which hardly see shapes

and, beside each, its `_floor`: the distance of as many real training pictures, or of all, from the
split. Both fall with the number of pictures, so that only splits of one size compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.tasks.task import Evaluation, Mean, Metric, Objective, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.source import Draw
    from zoo.tasks.task import Batch, Networks

DISCRIMINATOR, GENERATOR = "discriminator", "generator"  # networks, and what each minimises


class GAN(Unsupervised):
    """The task of a `generator` and a `discriminator`, which takes its turn first.

    The generator reads `noise` and gives images in [-1, 1], the discriminator reads those and gives
    the logit of their being real. What is deployed is the generator.
    """

    headline: ClassVar[Metric] = Metric("frechet", higher=False)
    black: ClassVar[float] = -1.0
    filmed: ClassVar[bool] = True

    kind: Literal["gan"] = "gan"

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        label = data.columns.get("label")
        if label is None or label.kind != "class":
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got {self.kind}, which judges images by their classes; {data.name} "
                f"has {has}. Take another data set, or another task.kind."
            )

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one for each network."""
        return tuple(Objective(name, (name,)) for name in (DISCRIMINATOR, GENERATOR))

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: what the generator reads, for its own turn and for the other's."""
        from zoo.data.source import Draw

        if not networks:
            return {}
        draw = Draw("normal", networks[GENERATOR].input.shape[1:])
        return {"noise": draw, "noise_discriminator": draw}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; `real` and `fake` are what the discriminator takes for real, (b,)."""
        from keras import ops

        column = "noise" if objective == GENERATOR else "noise_discriminator"
        made = networks[GENERATOR](batch[column], training=training)
        fake = networks[DISCRIMINATOR](made, training=training)[:, 0]
        if objective == GENERATOR:
            return Seen(Mean(ops.softplus(-fake)))  # -log D(G(z))
        real = networks[DISCRIMINATOR](batch["image"], training=training)[:, 0]
        # -log D(x) - log(1 - D(G(z)))
        loss = ops.softplus(-real) + ops.softplus(fake)
        return Seen(Mean(loss), {"real": Mean(ops.sigmoid(real)), "fake": Mean(ops.sigmoid(fake))})

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: a made image for each real one, (b, height, width, channels)."""
        return networks[GENERATOR](batch["noise"], training=False)

    def meter(self, columns: Mapping[str, Column]) -> Made:
        """See `Task.meter`: without the data set, the pixels alone are judged."""
        return Made(columns)

    def meter_of(self, data: DataSet) -> Made:
        """See `Task.meter_of`."""
        return Made(data.columns, data)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"image": data.columns[data.input]}

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`."""
        return networks[GENERATOR]

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """See `Task.replaced`."""
        return {**networks, GENERATOR: model}

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`."""
        from zoo.tasks.made import made, to_pixels

        draw = partial(networks[GENERATOR], training=False)
        return to_pixels(made(self, networks, draw, count=count, seed=seed, **options), low=-1.0)


class Made:
    """Compares made pictures with the real ones of a split.

    Args:
        columns: The data set's columns, by name.
        data: Whose training split teaches the judge; `None` measures the pixels without a floor.
    """

    def __init__(self, columns: Mapping[str, Column], data: DataSet | None = None):
        self._columns, self._data = columns, data
        self._real: list[np.ndarray] = []
        self._made: list[np.ndarray] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        from zoo.tasks.made import to_pixels

        self._real.append(to_pixels(batch["image"], low=-1.0))
        self._made.append(to_pixels(outputs, low=-1.0))

    def result(self) -> Evaluation:
        """Measures the distances; the table `classes` counts what the judge sees in either set."""
        import numpy as np

        from zoo.metrics.frechet import frechet_distance
        from zoo.tasks import made as pictures

        real, made = np.concatenate(self._real), np.concatenate(self._made)
        shown: dict[str, Any] = {"samples": partial(pictures.save, made[: pictures.SHOWN])}
        metrics = {"pixel_frechet": frechet_distance(_flat(real), _flat(made))}
        if self._data is None:
            return Evaluation(metrics, {}, shown)
        from zoo.tasks.judge import judge_of

        judge, names = judge_of(_everything(self._data)), self._columns["label"].names
        others = np.asarray(self._data.train[: len(real)][self._data.input])
        (features, seen), (fakes, guessed) = judge.see(real), judge.see(made)
        metrics |= {
            "pixel_frechet_floor": frechet_distance(_flat(real), _flat(others)),
            "frechet": frechet_distance(features, fakes),
            "frechet_floor": frechet_distance(features, judge.see(others)[0]),
        }
        counts = [np.bincount(found, minlength=len(names)) for found in (seen, guessed)]
        rows = [
            {"label": name, "real": int(one), "made": int(other)}
            for name, one, other in zip(names, *counts, strict=True)
        ]
        return Evaluation(metrics, {"classes": rows}, shown)


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
