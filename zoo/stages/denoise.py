"""Takes the noise away from pictures, with an autoencoder that was trained to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.bundle import Bundle, find_bundle
from zoo.common import staging

if TYPE_CHECKING:
    import keras
    import numpy as np

TILE = 128  # pixels of a side that a fully convolutional network is given at a time
MARGIN = 32  # pixels around it that it sees too, on each side
BESIDE = "-denoised.png"  # end of the name of what is written


class Denoised(NamedTuple):
    """A picture without its noise.

    Attributes:
        name: Of the file, or the place in an array.
        given: Pixels (height, width, channels), uint8, as they were.
        noisy: With the noise that was added; `given` where none was.
        denoised: Of the same shape.
        file: What was written; `None` for nothing.
    """

    name: str
    given: np.ndarray
    noisy: np.ndarray
    denoised: np.ndarray
    file: Path | None = None

    @property
    def decibels(self) -> tuple[float, float]:
        """PSNR of the noisy and of the denoised picture against what was given, in dB."""
        return _psnr(self.noisy, self.given), _psnr(self.denoised, self.given)


def denoise(
    bundle: Bundle | str | Path,
    pictures: Any,
    *,
    noise: float = 0.0,
    seed: int = 0,
    out: str | Path | None = None,
    force: bool = False,
) -> list[Denoised]:
    """Denoises pictures.

        zoo.denoise("runs/conv_autoencoder", "photo.png", noise=0.2)[0].denoised

    A network of one channel is given each channel of a colour picture apart, one of colours takes a
    grey picture as one of colours. A fully convolutional one takes pictures of any size, in tiles;
    any other takes the size that it was trained on.

    Args:
        bundle: Bundle of an autoencoder that was trained with a corruption, or its directory.
        pictures: Files; or an array (n, height, width, channels) of pixels, uint8, or of
            intensities in [0, 1].
        noise: How much noise is added first, of the kind and in the unit of the task's `level`.
        seed: Seed of that noise, in [0, 2**31).
        out: Folder for a PNG of each file, `NAME-denoised.png`: the noisy picture, the denoised one
            and the original, side by side; `None` writes nothing.
        force: Whether `out` may replace files.

    Raises:
        FileExistsError: A file to write exists, or is one of the pictures.
        FileNotFoundError: There is no such bundle or picture.
        ValueError: The bundle was not trained to denoise, or a picture is not what it takes, or
            is given twice.
    """
    import numpy as np

    bundle = find_bundle(bundle)
    task: Any = bundle.recipe.task
    if getattr(task, "corruption", "none") == "none":
        raise ValueError(
            f"{bundle.path}: was trained without noise, for the task {bundle.card.task}; expected "
            "an autoencoder with a corruption, e.g. denoising_autoencoder, conv_autoencoder."
        )
    most = 1 if task.corruption == "masking" else float("inf")
    if not 0 <= noise < most or not 0 <= seed < 2**31:
        raise ValueError(
            f"denoise: got noise {noise:g} and seed {seed}; expected a level of 0 or more"
            f"{', below 1' if most == 1 else ''}, and a seed in [0, 2**31)."
        )
    named = _read(pictures)
    places = [None if out is None else Path(out) / f"{Path(name).stem}{BESIDE}" for name in named]
    twice = {place for place in places if place is not None and places.count(place) > 1}
    if twice:
        raise ValueError(f"--out: got several pictures for {twice.pop()}; expected other names.")
    read = [] if isinstance(pictures, np.ndarray) else list(named)
    for place in places:
        if place is not None:
            staging.check_file(place, force=force, read=read)
    network = _Network(bundle)
    named = {name: network.taken(name, given) for name, given in named.items()}
    random, made = np.random.RandomState(seed), []
    for (name, given), place in zip(named.items(), places, strict=True):
        noisy = _corrupted(given, random, task.corruption, noise) if noise else given
        one = Denoised(name, given, noisy, network.run(noisy), place)
        if place is not None:
            _write(one, place)
        made.append(one)
    return made


def _read(pictures: Any) -> dict[str, np.ndarray]:
    """Pictures by name, pixels (height, width, 1 or 3), uint8; a grey file has one channel."""
    import numpy as np

    from zoo.common.picture_files import read_image

    if isinstance(pictures, np.ndarray):
        return {str(place): one for place, one in enumerate(_pixels(pictures))}
    files: Sequence[Any] = [pictures] if isinstance(pictures, (str, Path)) else list(pictures)
    if not files:
        raise ValueError("denoise: got no picture; expected files, or an array of pixels.")
    found: dict[str, np.ndarray] = {}
    seen: set[Path] = set()
    for file in files:
        if (place := Path(file).resolve()) in seen:
            raise ValueError(f"{file}: got this picture twice; expected each once.")
        seen.add(place)
        pixels = np.asarray(read_image(file))
        grey = (pixels == pixels[..., :1]).all()
        found[str(file)] = pixels[..., :1] if grey else pixels
    return found


def _pixels(array: np.ndarray) -> np.ndarray:
    """An array of pictures as uint8."""
    import numpy as np

    if array.ndim != 4 or array.shape[-1] not in (1, 3) or not array.size:
        raise ValueError(
            f"denoise: got an array {array.shape}; expected (n, height, width, channels), of 1 or 3"
            " channels, none of them 0."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        kind = array.dtype if array.dtype.kind != "f" else "NaN or infinite values"
        raise ValueError(f"denoise: got {kind}; expected uint8, or intensities in [0, 1].")
    if array.min() < 0 or array.max() > 1:
        raise ValueError(
            f"denoise: got intensities of {array.min():g} to {array.max():g}; expected 0 to 1."
        )
    return np.round(255 * array).astype(np.uint8)


def _corrupted(given: np.ndarray, random: Any, kind: str, level: float) -> np.ndarray:
    """A picture with noise, as a file can hold it."""
    import numpy as np

    from zoo.tasks.latent.autoencoder import corrupted
    from zoo.tasks.made import to_pixels

    drawn = (
        random.uniform(size=given.shape) if kind == "masking" else random.normal(size=given.shape)
    )
    values = corrupted(given.astype("float32") / 255, drawn.astype("float32"), kind, level)
    return to_pixels(np.asarray(values), low=0.0)


class _Network:
    """The deployed model of a bundle, for pictures of its size or, if it slides, of any."""

    def __init__(self, bundle: Bundle):
        from zoo.models.saved import load_model

        self._path, self._model = bundle.path, load_model(bundle.path)
        self._side, _, self._channels = self._model.input_shape[1:]
        self._slides = slides(self._model)
        self._wide: Any = None

    def taken(self, name: str, picture: np.ndarray) -> np.ndarray:
        """Returns a picture as the network takes it: of one of colours a grey one is such too.

        Raises:
            ValueError: It is of another size.
        """
        from zoo.common.images import recolour

        height, width, _ = picture.shape
        if not self._slides and (height, width) != (self._side, self._side):
            raise ValueError(
                f"{name}: got {height} x {width} pixels; expected {self._side} x {self._side}, "
                f"which {self._path} was trained on. One of convolutions alone, e.g. "
                "conv_autoencoder, takes any size."
            )
        return picture if self._channels == 1 else recolour(picture[None], self._channels)[0]

    def run(self, picture: np.ndarray) -> np.ndarray:
        """Denoises a picture (height, width, channels), uint8."""
        import numpy as np

        from zoo.tasks.made import to_pixels

        values = picture.astype("float32")[None] / 255  # (1, height, width, channels)
        if self._channels == 1:
            values = values.transpose(3, 1, 2, 0)  # (channels, height, width, 1)
        if values.shape[1:3] == (self._side, self._side):
            made = self._model.predict(values, verbose=0)
        else:
            made = self._tiled(values)
        if self._channels == 1:
            made = made.transpose(3, 1, 2, 0)
        return to_pixels(np.asarray(made)[0], low=0.0)

    def _tiled(self, values: np.ndarray) -> np.ndarray:
        """What the network makes of larger pictures, tile by tile."""
        import numpy as np

        from zoo.stages.tiles import in_tiles

        if self._wide is None:
            self._wide = widened(self._model)
        parts = [
            in_tiles(self._wide.predict_on_batch, value, tile=(TILE, TILE), margin=MARGIN)
            for value in values
        ]
        return np.stack(parts)


def slides(model: keras.Model) -> bool:
    """Returns whether a model does the same at every place of a picture, whatever its size."""
    from keras import layers

    from compress.graph import leaf_layers
    from compress.graph.kernels import inner
    from compress.layers import Floats, Range, RangedSilu

    known = (
        layers.Activation,
        layers.BatchNormalization,
        layers.Conv2D,
        layers.Conv2DTranspose,
        layers.DepthwiseConv2D,
        layers.ReLU,
        layers.LeakyReLU,
        Floats,
        Range,
        RangedSilu,
    )
    return all(isinstance(inner(layer), known) for _, layer in leaf_layers(model))


def widened(model: keras.Model) -> keras.Model:
    """Returns a model that `slides`, with the same layers, for pictures of any size."""
    import keras

    from zoo.models.flat import run

    image = keras.Input((None, None, model.input_shape[-1]), name="image")
    return keras.Model(image, run(model, image), name=model.name)


def _write(one: Denoised, place: Path) -> None:
    import numpy as np

    from zoo.tasks.made import save

    shown = [one.noisy, one.denoised] + ([one.given] if one.noisy is not one.given else [])
    with staging.staged_file(place) as partial:
        save(np.stack(shown), partial)


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    import numpy as np

    from zoo.metrics.fidelity import psnr

    return psnr(float(np.mean(np.square(one.astype(np.float64) - other))))
