"""Fast style transfer: a network learns to make, in one go, what optimising a picture makes.

Source: Johnson et al. 2016, arXiv:1603.08155, section 3.2: the error of one layer of a trained
network (content), those of the Gram matrices of several (style), and total variation. Differs:
errors are shares of what is looked for, see `zoo.losses.pictures`; the content's of its mean square
in the picture whose style is learnt, so that an empty sky weighs no more than a face.

The network that is looked through does not learn, and no bundle holds it: what is trained works
without it, only to train and to measure takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from zoo.tasks.task import Evaluation, Mean, Metric, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

STYLED = "styled"  # the network's answer
VGG = tuple(f"stage{stage}_conv{conv}_relu" for stage, conv in ((1, 2), (2, 2), (3, 3), (4, 3)))
VGG_CONTENT = "stage3_conv3_relu"
SHOWN = 6  # pictures that the meter keeps
Weight = Annotated[float, Field(ge=0)]


class FastStyle(Unsupervised):
    """The task of a network that paints a picture in one manner.

    The usual layers of VGG-16 are those of the authors' code.

    Attributes:
        style: The picture whose manner is learnt: a file, or a name of
            `zoo.data.photographs.PHOTOGRAPHS`.
        style_size: Its longer side, in pixels: how large the strokes become.
        network: What both are looked at through, see `zoo.models.perception.open_perception`.
        style_layers: Layers of it; none for the paper's four of VGG-16, or the usual ones.
        content_layer: Likewise.
        content_weight: Weight of the content's error.
        style_weight: Weight of the Gram matrices' mean error.
        variation_weight: Weight of the total variation.
    """

    headline: ClassVar[Metric] = Metric("loss", higher=False)
    deployed_answers: ClassVar[bool] = True

    kind: Literal["fast_style"] = "fast_style"
    style: str = "ihc"
    style_size: Annotated[int, Field(ge=32, le=4096)] = 256
    network: str = "vgg16-edges"
    style_layers: tuple[str, ...] = ()
    content_layer: str | None = None
    content_weight: Weight = 1.0
    style_weight: Weight = 5.0
    variation_weight: Weight = 10.0

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        try:
            self.judge(data.columns[data.input].shape)  # a graph has no place to make layers in
        except FileNotFoundError:  # which a file of the network is exported without
            return

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`: the pictures alone."""
        return (data.input,)

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`; a training without its judge ends here."""
        found = super().sizes(data)
        self.judge(found["input_shape"])
        return found

    def judge(self, shape: tuple[int | None, ...]) -> Judge:
        """Returns what judges pictures of a height, width and number of channels.

        Raises:
            FileNotFoundError: The network's weights have not been fetched, or there is no such
                picture.
            ValueError: There is no such layer, the picture is no picture, or the network sees
                other channels.
        """
        height, width, channels = shape
        return _judge(
            self.network, self.style_layers, self.content_layer, self.style, self.style_size,
            (int(height or 0), int(width or 0), int(channels or 0)),
        )  # fmt: skip

    def errors(self, images: Any, made: Any) -> dict[str, Any]:
        """Returns the parts of the loss without their weights, each (b,).

        Args:
            images: Intensities (b, height, width, channels).
            made: The styled ones.
        """
        from keras import ops

        from zoo.losses.pictures import gram, relative, variation

        judge = self.judge(made.shape[1:])
        maps, shown = judge.net(made, training=False), judge.middle(images, training=False)
        errors = [relative(gram(maps[path]), one) for path, one in judge.grams.items()]
        return {
            "content": relative(maps[judge.content], shown, scale=judge.scale),
            "style": ops.mean(ops.stack(errors), axis=0),
            "variation": variation(made),
        }

    def weighed(self, errors: Mapping[str, Any]) -> Any:
        """Returns the loss of each picture (b,)."""
        return (
            self.content_weight * errors["content"]
            + self.style_weight * errors["style"]
            + self.variation_weight * errors["variation"]
        )

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; `content`, `style` and `variation` are the parts, without weights."""
        from keras import ops

        images = ops.cast(batch["image"], "float32")
        errors = self.errors(images, networks["net"](images, training=training))
        return Seen(
            Mean(self.weighed(errors)), {name: Mean(value) for name, value in errors.items()}
        )

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the styled pictures."""
        return networks["net"](batch["image"], training=False)

    def meter(self, columns: Mapping[str, Column]) -> Styled:
        """See `Task.meter`."""
        return Styled(self)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {STYLED: data.columns[data.input]}


class Judge(NamedTuple):
    """What judges pictures of one size.

    Attributes:
        net: Intensities to the maps of the layers, by their paths.
        middle: Intensities to the maps of the content's layer.
        content: Path of that.
        grams: Gram matrices of the style (1, channels, channels), by the paths of its layers.
        scale: Mean square of the content's layer in the picture of the style.
    """

    net: keras.Model
    middle: keras.Model
    content: str
    grams: Mapping[str, np.ndarray]
    scale: float


@lru_cache(maxsize=8)
def _judge(
    network: str,
    style_layers: tuple[str, ...],
    content_layer: str | None,
    style: str,
    style_size: int,
    shape: tuple[int, int, int],
) -> Judge:
    import keras
    import numpy as np

    from zoo.losses.pictures import gram
    from zoo.models.perception import open_perception

    look = _read(style, style_size)
    eyes = open_perception(network)
    if eyes.channels != shape[2]:
        raise ValueError(
            f"task.network: {network} sees {eyes.channels} channels; the pictures have {shape[2]}. "
            f"Write data.channels={eyes.channels}."
        )
    usual = (VGG, VGG_CONTENT) if {*VGG, VGG_CONTENT} <= {*eyes.layers} else eyes.usual()
    paths = [eyes.find_layer(one) for one in style_layers or usual[0]]
    content = eyes.find_layer(content_layer or usual[1])
    net = eyes.at([*paths, content], shape[:2])
    maps = eyes.at([*paths, content], look.shape[:2])(look[None, :, :, : shape[2]])
    middle = eyes.at([content], shape[:2])
    return Judge(
        net,
        keras.Model(middle.input, middle.output[content], name="content"),
        content,
        {path: np.asarray(gram(maps[path])) for path in paths},
        float(np.mean(np.square(np.asarray(maps[content], np.float32)))),
    )


def _read(style: str, size: int) -> np.ndarray:
    """Intensities (height, width, 3) of the picture whose manner is learnt."""
    import numpy as np
    from PIL import Image

    from zoo.common.picture_files import read_image
    from zoo.data.photographs import NAMES, path_of

    image = read_image(path_of(style) if style in NAMES else style)
    share = size / max(image.size)
    sides = [max(round(side * share), 1) for side in image.size]
    if min(sides) < 32:
        raise ValueError(
            f"task.style: {style} has {image.width} x {image.height} pixels, {sides[0]} x "
            f"{sides[1]} at task.style_size; expected sides of 32 or more."
        )
    small = image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32) / 255


class Styled:
    """Measures styled pictures, beside the pictures as they were.

    Args:
        task: Says what they are judged by.
    """

    def __init__(self, task: FastStyle):
        self._task = task
        self._sums: dict[str, float] = {}
        self._count = 0
        self._kept: list[np.ndarray] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: Pictures (b, height, width, channels): intensities, or pixels as they are.
            outputs: The styled ones, intensities.
        """
        import numpy as np

        from zoo.tasks.made import to_pixels

        made = outputs[STYLED] if isinstance(outputs, Mapping) else outputs
        images, made = _intensities(batch["image"]), np.asarray(made, np.float32)
        before, after = self._task.errors(images, images), self._task.errors(images, made)
        found = {name: np.asarray(value) for name, value in after.items()}
        found |= {"loss": self._task.weighed(found), "style_before": np.asarray(before["style"])}
        for name, value in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(np.sum(value, dtype=np.float64))
        self._count += len(images)
        pairs = np.stack([to_pixels(one, low=0.0) for one in (images, made)], axis=1)
        self._kept += [pair.copy() for pair in pairs[: SHOWN - len(self._kept)]]

    def result(self) -> Evaluation:
        """Measures `loss`, its parts, and `style_before`, the style's error of the pictures.

        Returns:
            With the picture `styled`: pairs, as it was and as it became.
        """
        metrics = {name: total / self._count for name, total in self._sums.items()}
        order = ("loss", "content", "style", "style_before", "variation")
        return Evaluation(
            {name: metrics[name] for name in order}, {}, {STYLED: partial(_draw, self._kept)}
        )


def _intensities(images: np.ndarray) -> np.ndarray:
    import numpy as np

    images = np.asarray(images)
    scale = 255 if images.dtype == np.uint8 else 1
    return images.astype(np.float32) / np.float32(scale)


def _draw(kept: list[np.ndarray], path: Path) -> None:
    import numpy as np

    from zoo.tasks.made import save

    save(np.concatenate(kept), path, columns=4)
