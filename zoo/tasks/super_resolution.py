"""Super-resolution: a small picture becomes a larger one, judged beside bicubic interpolation.

The data set has pictures as they should become. What the network reads is made of them here, by a
fixed `degradation` (`zoo.data.degradation`), and rounded to whole levels, as a file has them.
Figures are of luminance from 0 to 255, in whole levels, of each photograph, then their mean; many
papers have 16 to 235, where PSNR is 1.3 dB higher. Bicubic is Pillow's, of the same small picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.task import Evaluation, Mean, Metric, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

ENHANCED, SMALL = "enhanced", "small"  # the network's answer, and what it read
SHOWN = 8  # tiles that the meter keeps


class SuperResolution(Unsupervised):
    """The task of a network that makes a picture larger, by as much as its own sides say.

    Attributes:
        degradation: How the large picture becomes small: `bicubic`, or `blur`, a Gaussian.
        sigma: Standard deviation of the blur, in pixels of the large picture.
        border: Pixels at each edge of a tile, of the large picture, that count for nothing: the
            network's padding reaches into them.
    """

    headline: ClassVar[Metric] = Metric("psnr")
    deployed_answers: ClassVar[bool] = True
    measured_by: ClassVar[tuple[str, ...]] = ("degradation", "sigma", "border")

    kind: Literal["super_resolution"] = "super_resolution"
    degradation: Literal["bicubic", "blur"] = "bicubic"
    sigma: Annotated[float, Field(gt=0)] = 1.0
    border: Annotated[int, Field(ge=0)] = 16

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        height, width, channels = data.columns[data.input].shape
        if channels != 1:
            raise ValueError(
                f"task.kind: got {self.kind}, which learns luminance; {data.name} has {channels} "
                "channels. Write data.channels=1."
            )
        if min(height or 0, width or 0) < 2 * self.border + 11:
            raise ValueError(
                f"task.border: got {self.border} for pictures of {height} x {width} pixels; "
                "expected 11 or more between the borders, SSIM's window."
            )

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`: the pictures, and which photograph each is of."""
        return (data.input, *_classes(data.columns)[:1])

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the squared error of each pixel (b, height, width, 1)."""
        from keras import ops

        net, large = networks["net"], batch["image"]
        made = net(self.degraded(large, scale_of(net)), training=training)
        error = self.middle(ops.cast(made, "float32")) - self.middle(large)
        return Seen(Mean(ops.square(error)))

    def degraded(self, images: Any, scale: int) -> Any:
        """Returns pictures made smaller, in whole levels.

        Args:
            images: Intensities in [0, 1], (b, height, width, 1).
            scale: Times that a side becomes shorter.

        Returns:
            Intensities (b, height / scale, width / scale, 1), float32.
        """
        from keras import ops

        from zoo.data.degradation import shrinking

        rows, columns = (
            ops.convert_to_tensor(shrinking(side, scale, self.degradation, self.sigma))
            for side in images.shape[1:3]
        )
        x = 255 * ops.cast(images, "float32")[..., 0]  # (b, height, width)
        x = ops.matmul(x, ops.transpose(columns))  # (b, height, width / scale)
        if self.degradation == "bicubic":  # Pillow rounds in between too
            x = _levels(x)
        x = _levels(ops.matmul(rows, x))  # (b, height / scale, width / scale)
        return x[..., None] / 255

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: the large pictures, and the small ones."""
        net = networks["net"]
        small = self.degraded(batch["image"], scale_of(net))
        return {ENHANCED: net(small, training=False), SMALL: small}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: small pictures."""
        import numpy as np

        return np.asarray(self.degraded(columns["image"], scale_of(networks["net"])))

    def asked(
        self, call: Callable[[Any], Any], networks: Networks, columns: Mapping[str, np.ndarray]
    ) -> Any:
        """See `Task.asked`."""
        small = self.inputs(networks, columns)
        return {ENHANCED: call(small), SMALL: small}

    def meter(self, columns: Mapping[str, Column]) -> Fidelity:
        """See `Task.meter`."""
        return Fidelity(self, columns)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {ENHANCED: data.columns[data.input]}

    def middle(self, images: Any) -> Any:
        """Returns what counts of pictures (b, height, width, ...)."""
        height, width = images.shape[1:3]
        return images[:, self.border : height - self.border, self.border : width - self.border]


def scale_of(net: keras.Model) -> int:
    """Returns the times that a network makes a side longer.

    Raises:
        ValueError: It does not make pictures larger, by a whole number of times.
    """
    small, large = net.inputs[0].shape, net.outputs[0].shape
    scales: set[int] = set()
    if len(small) == len(large) == 4:
        pairs = zip(large[1:3], small[1:3], strict=True)
        scales = {one // other if not one % other else 0 for one, other in pairs}
    if len(scales) != 1 or 0 in scales:
        raise ValueError(
            f"{net.name}: reads {tuple(small)} and answers {tuple(large)}; expected pictures, made "
            "a whole number of times larger."
        )
    return int(scales.pop())


def _levels(x: Any) -> Any:
    """Whole levels from 0 to 255; a half goes up."""
    from keras import ops

    return ops.floor(ops.clip(x, 0, 255) + 0.5)


def _classes(columns: Mapping[str, Column]) -> tuple[str, ...]:
    return tuple(name for name, column in columns.items() if column.kind == "class")


class Fidelity:
    """Compares pictures with the true ones, beside bicubic interpolation of the same small ones.

    Args:
        task: Says what counts of a tile.
        columns: The data set's columns, by name.
    """

    def __init__(self, task: SuperResolution, columns: Mapping[str, Column]):
        found = _classes(columns)
        self._task, self._label = task, found[0] if found else None
        self._names = columns[found[0]].names if found else ("all",)
        self._sums: dict[int, dict[str, float]] = {}  # of each photograph, over its tiles
        self._kept: list[np.ndarray] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: True pictures (b, height, width, 1): inputs, or pixels as they are; and classes.
            outputs: What `SuperResolution.answer` gives; or the large pictures alone.
        """
        import numpy as np

        from zoo.metrics.fidelity import ssim

        true = _pixels(batch["image"])  # (b, height, width)
        whole = isinstance(outputs, Mapping)
        made = {"": _pixels(outputs[ENHANCED] if whole else outputs)}
        if whole:
            made["_bicubic"] = bicubic(_pixels(outputs[SMALL]), true.shape[1:])
        middle = self._task.middle
        target = middle(true)
        measured: dict[str, np.ndarray] = {"tiles": np.ones(len(true))}
        for name, pictures in made.items():
            other = middle(pictures)
            error = np.square(other.astype("f8") - target).mean(axis=(1, 2))
            measured |= {f"mse{name}": error, f"ssim{name}": ssim(target, other)}
        labels = batch[self._label] if self._label else np.zeros(len(true), np.int32)
        for place, label in enumerate(labels.tolist()):
            sums = self._sums.setdefault(label, dict.fromkeys(measured, 0.0))
            for name, values in measured.items():
                sums[name] += float(values[place])
        if whole:
            rows = np.stack([made["_bicubic"], made[""], true], axis=1)  # (b, 3, height, width)
            self._kept += [row.copy() for row in rows[: SHOWN - len(self._kept)]]

    def result(self) -> Evaluation:
        """Measures `psnr` in dB, `ssim`, those of bicubic and the `gain` over its PSNR.

        Returns:
            Each is the mean over photographs. With the table `photographs`, a row for each, and the
            picture `enhanced`: bicubic, the answer and the true tile beside one another.
        """
        import numpy as np

        rows = [_row(self._names[label], self._sums[label]) for label in sorted(self._sums)]
        names = [name for name in rows[0] if name not in ("photograph", "tiles")]
        metrics = {name: float(np.mean([row[name] for row in rows])) for name in names}
        shown = {"enhanced": partial(_draw, self._kept)} if self._kept else {}
        return Evaluation(metrics, {"photographs": rows}, shown)


def _row(name: str, sums: Mapping[str, float]) -> dict[str, Any]:
    """What is told of a photograph, of the sums over its tiles."""
    from zoo.metrics.fidelity import PEAK, psnr

    means = {key: value / sums["tiles"] for key, value in sums.items()}
    row: dict[str, Any] = {"photograph": name, "tiles": int(sums["tiles"])}
    row |= {"loss": means["mse"] / PEAK**2, "psnr": psnr(means["mse"]), "ssim": means["ssim"]}
    if "mse_bicubic" in means:
        row |= {"psnr_bicubic": psnr(means["mse_bicubic"]), "ssim_bicubic": means["ssim_bicubic"]}
        row["gain"] = row["psnr"] - row["psnr_bicubic"]
    return row


def _pixels(values: np.ndarray) -> np.ndarray:
    """Levels (b, height, width), uint8, of intensities in [0, 1] or of pixels, (..., 1)."""
    import numpy as np

    from zoo.tasks.made import to_pixels

    values = np.asarray(values)[..., 0]
    return values if values.dtype == np.uint8 else to_pixels(values, low=0.0)


def bicubic(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns pictures in another size, by Pillow's bicubic interpolation.

    Args:
        pixels: (n, height, width), uint8.
        shape: The height and width to be.
    """
    import numpy as np
    from PIL import Image

    size = shape[1], shape[0]
    large = [Image.fromarray(one).resize(size, Image.Resampling.BICUBIC) for one in pixels]
    return np.stack([np.asarray(one) for one in large])


def _draw(kept: list[np.ndarray], path: Path) -> None:
    import numpy as np
    from PIL import Image

    from zoo.tasks.made import grid

    whole = grid(np.concatenate(kept)[..., None], columns=3)
    Image.fromarray(whole[..., 0]).save(path, format="PNG")
