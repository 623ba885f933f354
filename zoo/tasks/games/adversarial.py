"""What adversarial games share: a generator makes pictures of noise, its opponent judges them.

Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1: both take turns, each with noise of
its own. Networks that read a `label` are told the class, real pictures with their own (Mirza &
Osindero 2014, arXiv:1411.1784). What is minimised, a subclass says; neither loss tells how good the
pictures are: `zoo.tasks.games.likeness` measures that. Points of a table are learnt as pictures
are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.common.tensors import LABEL
from zoo.tasks.classes import num_classes, told
from zoo.tasks.supervised import run
from zoo.tasks.task import Metric, Objective
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.data.preprocessing import Preprocessing
    from zoo.tasks.games.likeness import Made
    from zoo.tasks.task import Batch, Networks

GENERATOR = "generator"  # a network, and what it minimises
DRAWN, MEANT = 500, 3  # draws among which there are some of each class, and of a mean


class Game(Unsupervised):
    """The task of a `generator` and its opponent, which takes its turns first.

    The generator reads `noise` and gives images in [-1, 1], or rows; the opponent reads those and
    gives a number. What is deployed is the generator.

    Attributes:
        opponent: Name of a network, and of what it minimises.
    """

    headline: ClassVar[Metric] = Metric("frechet", higher=False)
    black: ClassVar[float] = -1.0
    deployed_answers: ClassVar[bool] = True
    filmed: ClassVar[bool] = True
    opponent: ClassVar[str]

    kind: str

    def check(self, data: DataSet) -> None:
        """See `Task.check`: pictures, or rows of a table, of several classes."""
        label = data.columns.get(LABEL)
        if label is None or label.kind != "class":
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got {self.kind}, which judges by their classes; {data.name} has "
                f"{has}. Take another data set, or another task.kind."
            )
        if data.columns[data.input].kind != "features":
            super().check(data)

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`; classes are for networks that are told one."""
        return super().sizes(data) | {"num_classes": len(data.columns[LABEL].names)}

    def preprocessing(self, column: Column) -> Preprocessing | None:
        """See `Task.preprocessing`; rows are standardised."""
        return None if column.kind == "features" else super().preprocessing(column)

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one for each network."""
        return tuple(Objective(name, (name,)) for name in (self.opponent, GENERATOR))

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: what the generator reads, for its own turn and for the other's."""
        from zoo.data.feeds.source import Draw

        if not networks:
            return {}
        shape = next(x.shape[1:] for x in networks[GENERATOR].inputs if x.name == "noise")
        return {name: Draw("normal", shape) for name in ("noise", f"noise_{self.opponent}")}

    def made(self, networks: Networks, batch: Batch, objective: str, *, training: bool) -> Any:
        """Returns what the generator makes of the noise of an objective's turn, (b, ...)."""
        column = "noise" if objective == GENERATOR else f"noise_{objective}"
        return run(networks[GENERATOR], {**batch, "noise": batch[column]}, training=training)

    def score(self, networks: Networks, batch: Batch, pictures: Any, *, training: bool) -> Any:
        """Returns what the opponent says of pictures or rows, (b,); of several at once, to each."""
        from keras import ops

        times = self._at_once(networks, pictures)
        given = {**batch, seen_of(batch): packed(pictures, times)}
        found = run(networks[self.opponent], given, training=training)[:, 0]
        return found if times == 1 else ops.repeat(found, times)

    def _at_once(self, networks: Networks, pictures: Any) -> int:
        """Number of pictures or rows (b, ...) that the opponent sees at once."""
        if len(pictures.shape) != 4:
            return 1
        given = networks[self.opponent].inputs
        return next(x.shape[-1] for x in given if len(x.shape) == 4) // pictures.shape[-1]

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """See `Task.inputs_of`: the opponent reads as many pictures as it sees at once.

        Raises:
            ValueError: There are fewer.
        """
        import numpy as np

        pictures = columns[seen_of(columns)]
        if name != self.opponent or (times := self._at_once(networks, pictures)) == 1:
            return super().inputs_of(name, networks, columns)
        whole = len(pictures) // times * times
        if not whole:
            raise ValueError(
                f"{name}: got {len(pictures)} pictures; expected {times} or more, which it sees at "
                "once. Take more."
            )
        return np.asarray(packed(pictures[:whole], times))

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: a made picture for each real one, (b, ...), of its class."""
        return self.made(networks, with_class(networks, batch), GENERATOR, training=False)

    def meter(self, columns: Mapping[str, Column]) -> Made:
        """See `Task.meter`: without the data set, the pixels alone are judged."""
        from zoo.tasks.games.likeness import Made

        return Made(columns)

    def meter_of(self, data: DataSet) -> Made:
        """See `Task.meter_of`."""
        from zoo.tasks.games.likeness import Made

        return Made(data.columns, data)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {data.input: data.columns[data.input]}

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
        label: int | None = None,
        walk: bool = False,
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`: of a class, or of all in turn where the generator is told one.

        Args:
            networks: Trained, by name.
            columns: What the deployed model reads and answers with.
            count: Number of pictures.
            seed: Seed of the noise.
            label: Index of the class; `None` makes each in turn.
            walk: Whether the pictures lie on a path between draws of the noise.
            **options: None are known.

        Raises:
            ValueError: There is no such option or class, the generator is not told one, or what it
                makes are no pictures.
        """
        from zoo.tasks.made import made, refuse_options

        refuse_options(self, options)
        if not any(column.kind == "image" for column in columns.values()):
            raise ValueError(
                f"task {self.kind}: makes rows of a table; expected a bundle of pictures. "
                "`zoo evaluate --out DIR` draws the points."
            )
        classes = num_classes(networks[GENERATOR])
        if label is not None and classes and not 0 <= label < classes:
            raise ValueError(
                f"task {self.kind}: got the class {label}; expected an index, 0 to {classes - 1}."
            )

        return made(
            self, networks, partial(self._drawn, networks), count=count, seed=seed,
            walk=walk, label=label, num_classes=classes,
        )  # fmt: skip

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> dict[str, Callable[[Path], None]]:
        """See `Task.pictures`: a `walk` between draws of the noise, and what a class is in it.

        That is, of networks that are told one, `classes`: the same draws in rows, made as each
        class; of others `arithmetic`: in each row a, b, c and a - b + c, where a is the mean of
        three draws that the judge takes for one class, as in Radford et al. 2015.
        """
        if columns[seen_of(columns)].kind != "image":
            return {}

        def save(make: Callable[[], np.ndarray], wide: int, path: Path) -> None:
            pixels = make()
            if len(pixels):  # the judge may see fewer than three classes
                pictures.save(pixels, path, columns=wide)

        from zoo.tasks import codes
        from zoo.tasks import made as pictures

        options: dict[str, Any] = {"columns": columns, "count": pictures.SHOWN, "seed": 0}
        walk = partial(self.generate, networks, walk=True, **options)
        found: dict[str, Callable[[Path], None]] = {"walk": partial(save, walk, 8)}
        shape = tuple(self.draws(networks)["noise"].shape)
        if classes := num_classes(networks[GENERATOR]):
            drawn = partial(self._drawn, networks, *codes.styles(shape, classes))
            found["classes"] = partial(save, drawn, classes)
        elif meter.judge is not None:
            found["arithmetic"] = partial(save, partial(self._sums, networks, shape, meter), 4)
        return found

    def _sums(self, networks: Networks, shape: tuple[int, ...], meter: Any) -> np.ndarray:
        """Rows of four pictures: of a, b, c, and a - b + c."""
        import numpy as np

        from zoo.tasks import codes

        noise = np.random.RandomState(1).normal(size=(DRAWN, *shape)).astype(np.float32)
        _, labels = meter.judge.see(self._drawn(networks, noise))
        few = [np.flatnonzero(labels == index)[:MEANT] for index in range(int(labels.max()) + 1)]
        chosen = np.concatenate([places for places in few if len(places) == MEANT])
        if not len(chosen):
            return np.zeros((0,))
        means = codes.class_means(noise[chosen], labels[chosen], len(few))
        rows = codes.sums(means)
        return self._drawn(networks, rows.reshape(-1, *shape)) if len(rows) else np.zeros((0,))

    def _drawn(self, networks: Networks, *given: np.ndarray) -> np.ndarray:
        """What the generator makes of noise (n, ...), and classes (n, classes), as pixels."""
        from zoo.tasks.made import to_pixels

        columns = dict(zip(("noise", LABEL), given, strict=False))
        return to_pixels(run(networks[GENERATOR], columns, training=False), low=self.black)


def with_class(networks: Networks, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the batch with one-hot classes (b, classes), where the networks read them."""
    label = told(networks[GENERATOR], batch)
    return dict(batch) if label is None else {**batch, LABEL: label}


def packed(pictures: Any, times: int) -> Any:
    """Returns so many pictures at a time, one behind the other in the channels.

    Args:
        pictures: (b, height, width, channels), b a multiple of `times`.
        times: Pictures that are seen at once.

    Raises:
        ValueError: Some are left over.
    """
    from keras import ops

    if times == 1:
        return pictures
    num, *sides, channels = pictures.shape
    if num is not None and num % times:
        raise ValueError(
            f"train.batch_size: got {num} pictures on a device; expected a multiple of {times}, "
            "which the discriminator sees at once."
        )
    x = ops.reshape(pictures, (-1, times, *sides, channels))
    x = ops.transpose(x, (0, 2, 3, 1, 4))
    return ops.reshape(x, (-1, *sides, times * channels))  # (b / times, ...)


def seen_of(batch: Batch) -> str:
    """Returns the name of the column that is learnt: pictures, or rows of a table."""
    return "image" if "image" in batch else "features"


def norm_of_gradient(score: Any, pictures: Any) -> Any:
    """Returns the norm of the gradient of each picture's score by the picture, (b,).

    The engine's tape records this one, so that the norm has a gradient by the opponent's weights.

    Args:
        score: From pictures (b, ...) to numbers (b,), each of its own picture alone.
        pictures: (b, ...).
    """
    import tensorflow as tf
    from keras import ops

    pictures = tf.convert_to_tensor(pictures)
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        scores = score(pictures)
    gradient = ops.reshape(tape.gradient(scores, pictures), (ops.shape(pictures)[0], -1))
    # The root has no gradient at 0, where a fresh opponent may be.
    return ops.sqrt(ops.sum(ops.square(gradient), axis=-1) + 1e-12)
