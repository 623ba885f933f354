"""Autoregressive nets of pixels: the probability of each pixel, given those before it.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, arXiv:1601.06759, equation 1. The product
over the pixels is the exact probability of a picture, so that nats per image are no bound.

How a grey picture becomes what is learnt decides the figure, so compare it with care:

    binary    each pixel is 1 with the probability of its intensity, drawn anew in each step of the
              training, and once for all for validation and test; the papers' digits of MNIST were
              drawn once for all, training too
    softmax   a number of levels, each with a logit
    mixture   a number of levels, by a mixture of logistic densities (`zoo.tasks.pixel_nets.pixels`)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.tensors import LABEL
from zoo.tasks.classes import num_classes, one_hot, told
from zoo.tasks.task import Evaluation, Mean, Metric, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.tasks.task import Batch, Networks

THRESHOLD = "threshold"
COARSE = "coarse"  # every second pixel, which a net may be given
SEED = 2016  # of the pictures in a bundle
AT_ONCE = 64  # pictures that are drawn together


class Autoregressive(Unsupervised):
    """The task of one net: `image` (b, h, w, 1), in [0, 1], to `logits` (b, h, w, numbers).

    The logits of a pixel say how it is distributed, and depend on those above it and to its left.
    A net with a second input, `label` (b, classes), is told the class. What is deployed is the net.

    Attributes:
        pixels: How a pixel is distributed, see above.
        levels: Levels of a pixel that is not binary: 256 keeps every intensity.
        components: Logistic densities of a mixture.
        conditional: Whether the net is told the class.
    """

    headline: ClassVar[Metric] = Metric("nats", higher=False)
    deployed_answers: ClassVar[bool] = True

    kind: Literal["autoregressive"] = "autoregressive"
    pixels: Literal["binary", "softmax", "mixture"] = "binary"
    levels: Annotated[int, Field(ge=2, le=256)] = 256
    components: Annotated[int, Field(ge=1)] = 5
    conditional: bool = False

    def check(self, data: DataSet) -> None:
        """See `Task.check`: grey pictures, with a class where the net is told it."""
        super().check(data)
        channels = data.columns[data.input].shape[-1]
        if channels != 1:
            raise ValueError(
                f"task.kind: got {self.kind}, which learns grey pictures; {data.name} has "
                f"{channels} channels. Write data.channels=1."
            )
        label = data.columns.get(LABEL)
        if self.conditional and (label is None or label.kind != "class"):
            raise ValueError(
                f"task.conditional: got true for {data.name}, which has no class of each picture; "
                "expected a column label. Take another data set, or task.conditional=false."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`."""
        from zoo.tasks.pixel_nets import pixels

        outputs = pixels.outputs(self.pixels, levels=self.levels, components=self.components)
        known = super().sizes(data) | {"num_classes": outputs}
        return known | ({"classes": len(data.columns[LABEL].names)} if self.conditional else {})

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`."""
        return tuple(name for name in (data.input, LABEL) if name in data.columns)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: the `threshold` of each pixel, where pixels are binary."""
        from zoo.data.feeds.source import Draw

        if not networks or self.pixels != "binary":
            return {}
        return {THRESHOLD: Draw("uniform", _image(networks["net"]).shape[1:])}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: `nats` of a picture (b,), and `bits_per_dimension`."""
        from zoo.tasks.pixel_nets import pixels

        levels = self.levels_of(batch)
        logits = self.logits(networks, batch, levels, training=training)
        nats = self.nats_of(logits, levels)
        per_pixel = pixels.bits(1.0, _size(levels))
        return Seen(Mean(nats), {"nats": Mean(nats), "bits_per_dimension": Mean(nats * per_pixel)})

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the logits."""
        return self.logits(networks, batch, self.levels_of(batch), training=False)

    def logits(self, networks: Networks, batch: Batch, levels: Any, *, training: bool) -> Any:
        """Returns what the net says of each pixel.

        Args:
            networks: The task's networks, by name.
            batch: Has the `label` of each picture, where the net is told it.
            levels: Levels of the pixels (b, h, w).
            training: Whether to run as in training.
        """
        net = networks["net"]
        return net(self._read(net, batch, levels), training=training)

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: the pixels as they are drawn, and the class as a row of zeros and one.

        Without networks, the picture alone.
        """
        net = networks["net"] if networks else None
        return self._arrays(net, columns, self.levels_of(columns))

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """See `Task.inputs_of`: as `inputs` are."""
        return self._arrays(networks[name], columns, self.levels_of(columns))

    def meter(self, columns: Mapping[str, Column]) -> Nats:
        """See `Task.meter`."""
        return Nats(self)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: of each pixel the numbers that say how it is distributed."""
        column = data.columns[data.input]
        numbers = self.sizes(data)["num_classes"]
        return {"logits": column._replace(shape=(*column.shape[:2], numbers))}

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> dict[str, Callable[[Path], None]]:
        """See `Task.pictures`: `samples`, a grid of new pictures."""
        from zoo.tasks import made

        def draw(path: Path) -> None:
            found = self.generate(networks, columns=columns, count=made.SHOWN, seed=SEED)
            made.save(found, path)

        return {"samples": draw}

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        label: int | None = None,
        start: np.ndarray | None = None,
        **options: Any,
    ) -> np.ndarray:
        """Draws pictures, one pixel after another.

        Args:
            networks: The net.
            columns: Of `label` come the names of the classes.
            count: Number of pictures.
            seed: Seed of the draws.
            label: Index of the class; `None` takes one after another, of a net that is told it.
            start: Pictures (n, h, w, 1), uint8, whose upper halves stay as they are; of several,
                one after another.
            **options: None are known.

        Raises:
            ValueError: An option does not fit the net.
        """
        import numpy as np
        import tensorflow as tf

        from zoo.data.feeds.source import Draw, noise
        from zoo.tasks import made

        made.refuse_options(self, options)
        net = networks["net"]
        shape = _image(net).shape[1:]
        drawn = {THRESHOLD: Draw("uniform", shape), COARSE: Draw("uniform", shape)}
        columns_of = noise(drawn, tf.constant([seed, 0]), count)
        uniforms, others = (columns_of[name].numpy()[..., 0] for name in (THRESHOLD, COARSE))
        given = {"image": np.zeros((count, *shape), "float32")}
        given |= _classes(net, count, label)
        kept = None
        if start is not None:
            kept = self._kept(start, shape, count, uniforms)
        if COARSE in networks:
            others = others[:, ::2, ::2]
            small = {"image": np.zeros((*others.shape, 1), "float32")}
            first = kept[:, ::2, ::2] if kept is not None else None
            found = self.draw(networks[COARSE], small, others, kept=first)
            given[COARSE] = (found[..., None] / (self.count - 1)).astype("float32")
        return self.to_pixels(self.draw(net, given, uniforms, kept=kept))

    def draw(
        self,
        net: keras.Model,
        given: Mapping[str, np.ndarray],
        uniforms: np.ndarray,
        *,
        kept: np.ndarray | None = None,
        whole: bool = False,
    ) -> np.ndarray:
        """Returns levels (n, h, w), int32, each drawn from what the net says of it.

        Args:
            net: The net.
            given: What it reads; `image` is filled on the way.
            uniforms: What each pixel is drawn by, in [0, 1), (n, h, w).
            kept: Levels of the first rows, (n, rows, w), which stay.
            whole: Whether the whole net is run for each pixel, which is slow and says the same.
        """
        import numpy as np

        from zoo.tasks.pixel_nets import pixels, rasters

        if len(uniforms) > AT_ONCE:  # what is kept of a picture is some megabytes
            parts = [slice(i, i + AT_ONCE) for i in range(0, len(uniforms), AT_ONCE)]
            return np.concatenate(
                [
                    self.draw(
                        net,
                        {name: values[part] for name, values in given.items()},
                        uniforms[part],
                        kept=None if kept is None else kept[part],
                        whole=whole,
                    )
                    for part in parts
                ]
            )
        answers = rasters.Whole(net, given) if whole else rasters.answers(net, given)
        levels = np.zeros(uniforms.shape, "int32")
        rows = 0 if kept is None else kept.shape[1]
        if kept is not None:
            levels[:, :rows] = kept
        for row, column in np.ndindex(*uniforms.shape[1:]):
            if row >= rows:
                shares = pixels.probabilities(
                    self.pixels, answers.logits(row, column), levels=self.count
                )
                levels[:, row, column] = pixels.drawn(shares, uniforms[:, row, column])
            answers.put(row, column, levels[:, row, column] / (self.count - 1))
        return levels

    @property
    def count(self) -> int:
        """Levels of a pixel."""
        return 2 if self.pixels == "binary" else self.levels

    def levels_of(self, batch: Mapping[str, Any]) -> Any:
        """Returns the levels of the pixels (b, h, w), int32.

        Args:
            batch: `image` (b, h, w, 1), intensities in [0, 1], and `threshold` of binary pixels;
                without it, one half.
        """
        from keras import ops

        image = batch["image"][..., 0]
        if self.pixels == "binary":
            least = batch[THRESHOLD][..., 0] if THRESHOLD in batch else 0.5
            return ops.cast(least < image, "int32")
        grey = ops.round(255 * ops.clip(image, 0, 1))
        return ops.cast(ops.floor((grey + 0.5) * (self.levels / 256)), "int32")

    def nats(self, logits: Any, levels: Any) -> Any:
        """Returns minus the log-probability of each picture (b,), in nats.

        Args:
            logits: (b, h, w, numbers).
            levels: (b, h, w), int32.
        """
        from keras import ops

        from zoo.tasks.pixel_nets import pixels

        each = pixels.log_likelihood(self.pixels, logits, levels, levels=self.count)
        return -ops.sum(each, axis=(1, 2))

    def nats_of(self, outputs: Any, levels: Any) -> Any:
        """Returns the nats (b,) of all that `answer` gives of some pictures (b, h, w)."""
        return self.nats(outputs, levels)

    def to_pixels(self, levels: np.ndarray) -> np.ndarray:
        """Returns levels (n, h, w) as pictures (n, h, w, 1), uint8."""
        from zoo.tasks import made

        return made.to_pixels(levels[..., None] / (self.count - 1), low=0.0)

    def _read(self, net: keras.Model | None, batch: Batch, levels: Any) -> Any:
        """What the net reads: the picture, or by name."""
        from keras import ops

        image = ops.cast(levels, "float32")[..., None] / (self.count - 1)
        names = [tensor.name for tensor in net.inputs] if net is not None else ["image"]
        known = {"image": image}
        if COARSE in names:
            known[COARSE] = image[:, ::2, ::2]
        if net is not None and LABEL in names:
            known[LABEL] = told(net, batch)
        return known if len(known) > 1 else image

    def _arrays(self, net: keras.Model | None, columns: Mapping[str, Any], levels: Any) -> Any:
        """What the net reads, as NumPy arrays."""
        import keras
        import numpy as np

        return keras.tree.map_structure(np.asarray, self._read(net, columns, levels))

    def _kept(
        self, start: np.ndarray, shape: tuple[int, ...], count: int, uniforms: np.ndarray
    ) -> np.ndarray:
        """The levels of the upper halves of some pictures, (count, rows, w)."""
        import numpy as np

        from zoo.tasks.made import begun_with

        rows = shape[0] // 2
        chosen = begun_with(start, shape, count) / 255
        batch = {"image": chosen.astype("float32"), THRESHOLD: uniforms[..., None]}
        return np.asarray(self.levels_of(batch))[:, :rows]


class Nats:
    """Sums the nats of a split.

    Args:
        task: Says what is learnt of a picture.
    """

    def __init__(self, task: Autoregressive):
        self._task = task
        self._nats: list[np.ndarray] = []
        self._size = 0
        self._shown: list[np.ndarray] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np

        levels = np.asarray(self._task.levels_of(batch))
        self._nats.append(np.asarray(self._task.nats_of(outputs, levels), "float64"))
        self._size = _size(levels)
        self._shown.append(levels)

    def result(self) -> Evaluation:
        """Returns `nats` per picture, their standard `error`, and `bits_per_dimension`."""
        import numpy as np

        from zoo.tasks import made
        from zoo.tasks.pixel_nets import pixels

        nats = np.concatenate(self._nats)
        mean = float(nats.mean())
        shown = self._task.to_pixels(np.concatenate(self._shown)[: made.SHOWN])
        return Evaluation(
            {
                "nats": mean,
                "error": float(nats.std() / np.sqrt(len(nats))),
                "bits_per_dimension": pixels.bits(mean, self._size),
            },
            pictures={"learnt": partial(made.save, shown)},
        )


def _image(net: keras.Model) -> Any:
    return next(tensor for tensor in net.inputs if tensor.name == "image")


def _size(levels: Any) -> int:
    """Pixels of a picture, of levels (b, h, w)."""
    return int(levels.shape[1] * levels.shape[2])


def _classes(net: keras.Model, count: int, label: int | None) -> dict[str, np.ndarray]:
    """The classes to draw, one-hot (count, classes), where the net is told one."""
    import numpy as np

    classes = num_classes(net)
    if not classes and label is not None:
        raise ValueError(
            f"--class: got {label} for {net.name}, which is told no class; expected none. A model "
            "that is: conditional_pixel_cnn_small."
        )
    if not classes:
        return {}
    if label is not None and not 0 <= label < classes:
        raise ValueError(f"--class: got {label}; expected a class, 0 to {classes - 1}.")
    chosen = np.arange(count) % classes if label is None else np.full(count, label)
    return {LABEL: one_hot(chosen, classes)}
