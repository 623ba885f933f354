"""What judges pictures of a manner, and how styled pictures are measured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    import keras
    import numpy as np

STYLED = "styled"  # the network's answer
VGG = tuple(f"stage{stage}_conv{conv}_relu" for stage, conv in ((1, 2), (2, 2), (3, 3), (4, 3)))
VGG_CONTENT = "stage3_conv3_relu"
SHOWN = 6  # pictures that the meter keeps


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
def judge_of(
    network: str,
    style_layers: tuple[str, ...],
    content_layer: str | None,
    style: str,
    style_size: int,
    shape: tuple[int, int, int],
    digest: str,  # of the picture: a path may hold another one tomorrow
) -> Judge:
    """Returns what judges pictures of a shape; see `FastStyle.judge`."""
    import keras
    import numpy as np

    from zoo.losses.pictures import gram
    from zoo.models.perception import open_perception

    look = read(style, style_size)
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


def place_of(style: str) -> Path:
    """Where a picture is.

    Raises:
        FileNotFoundError: Nowhere.
    """
    from zoo.data.sets.photographs import NAMES, path_of

    place = Path(path_of(style) if style in NAMES else style)
    if not place.is_file():
        raise FileNotFoundError(f"task.style: {place}: no such file; expected a picture.")
    return place


def read(style: str, size: int) -> np.ndarray:
    """Intensities (height, width, 3) of the picture whose manner is learnt."""
    import numpy as np
    from PIL import Image

    from zoo.common.picture_files import read_image

    image = read_image(place_of(style))
    share = size / max(image.size)
    sides = [max(round(side * share), 1) for side in image.size]
    if min(sides) < 32:
        raise ValueError(
            f"task.style: {style} has {image.width} x {image.height} pixels, {sides[0]} x "
            f"{sides[1]} at task.style_size; expected sides of 32 or more."
        )
    small = image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32) / 255


class Judging(Protocol):
    """What judges: a task, see `zoo.tasks.fast_style.FastStyle`."""

    def errors(self, images: Any, made: Any) -> dict[str, Any]:
        """Returns the parts of the loss without their weights, each (b,)."""

    def weighed(self, errors: Mapping[str, Any]) -> Any:
        """Returns the loss of each picture (b,)."""

    def draw_style(self, path: Path) -> None:
        """Writes the picture whose manner is learnt."""


class Styled:
    """Measures styled pictures, beside the pictures as they were.

    Args:
        task: Says what they are judged by.
    """

    def __init__(self, task: Judging):
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
            With the pictures `styled`: pairs, as it was and as it became; and `style`, whose manner
            it is, as large as it was looked at.
        """
        metrics = {name: total / self._count for name, total in self._sums.items()}
        order = ("loss", "content", "style", "style_before", "variation")
        return Evaluation(
            {name: metrics[name] for name in order},
            {},
            {STYLED: partial(_draw, self._kept), "style": self._task.draw_style},
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
