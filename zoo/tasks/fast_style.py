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
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.digests import sha256
from zoo.tasks.judged_pictures import STYLED, Judge, Styled, judge_of, place_of, read
from zoo.tasks.task import Mean, Metric, Seen
from zoo.tasks.unsupervised import Unsupervised
from zoo.weights import USUAL

if TYPE_CHECKING:
    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

Weight = Annotated[float, Field(ge=0)]


class FastStyle(Unsupervised):
    """The task of a network that paints a picture in one manner.

    The usual layers of VGG-16 are those of the authors' code.

    Attributes:
        style: The picture whose manner is learnt: a file, or a name of
            `zoo.data.sets.photographs.PHOTOGRAPHS`.
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
    network: str = USUAL
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
        return judge_of(
            self.network, self.style_layers, self.content_layer, self.style, self.style_size,
            (int(height or 0), int(width or 0), int(channels or 0)), sha256(place_of(self.style)),
        )  # fmt: skip

    def files(self) -> Mapping[str, Path]:
        """See `Task.files`: the picture whose manner is learnt, where it is at hand."""
        try:
            return {"style": place_of(self.style)}
        except FileNotFoundError:  # which neither to compress nor to export takes
            return {}

    def draw_style(self, path: Path) -> None:
        """Writes the picture whose manner is learnt, as large as it is looked at."""
        from PIL import Image

        from zoo.tasks.made import to_pixels

        pixels = to_pixels(read(self.style, self.style_size), low=0.0)
        Image.fromarray(pixels).save(path)

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
