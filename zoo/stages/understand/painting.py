"""Pictures made with a trained network: styles, dreams, textures, inversions, as PNG files."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import keras
import numpy as np
from PIL import Image

from zoo.bundle import Bundle
from zoo.common.images import recolour
from zoo.common.picture_files import read_image
from zoo.explain.pictures import dreams, inversion, styles
from zoo.explain.pictures.descent import SMALLEST, Painted, Stage
from zoo.explain.pictures.ways import ALIKE, DREAM, INVERT, SIZE, STYLE, TEXTURE, Blend, Descent
from zoo.models.perception import NOMINAL, Perception, open_perception
from zoo.stages import own
from zoo.stages.png import check_png, save_png
from zoo.stages.ranges import WHOLE, as_range, ranges_of
from zoo.tasks.made import to_pixels
from zoo.weights import USUAL

LOG = logging.getLogger("zoo")
PER_VALUE = 200  # bytes that L-BFGS keeps for each value of a picture


class Request(NamedTuple):
    """What all of these pictures are made by.

    Attributes:
        network: What looks: weights that were fetched, e.g. `vgg16-edges`; a bundle; a `.keras`
            file or a Keras model.
        values: What pixels become for one that is no bundle, a key of `zoo.stages.ranges.RANGES`.
        size: Longer side of what is made, in pixels.
        how: The way; `None` for the usual one of each kind.
        out: PNG file to write; `None` writes none.
        every: Steps between two pictures on the way, `OUT-0010.png` ...; 0 writes none.
        force: Whether files may be replaced.
    """

    network: str | Path | Bundle | keras.Model = USUAL
    values: str | None = None
    size: int = SIZE
    how: Descent | None = None
    out: str | Path | None = None
    every: int = 0
    force: bool = False


class Made(NamedTuple):
    """A picture that was made.

    Attributes:
        pixels: (height, width, 3), uint8.
        losses: After each step at its full size, the start's among them.
        terms: What the last loss consists of.
        layers: Layers that were looked at.
        files: What was written, the picture last.
    """

    pixels: np.ndarray
    losses: np.ndarray
    terms: dict[str, float]
    layers: tuple[str, ...]
    files: tuple[Path, ...]


def style(
    content: str | Path,
    look: str | Path,
    *,
    blend: Blend | None = None,
    start: Literal["content", "noise"] = "content",
    request: Request | None = None,
) -> Made:
    """Paints what one picture shows in the manner of another, see `zoo.explain.style`.

        zoo.style("photo.jpg", "painting.jpg", request=Request(out="painted.png")).pixels

    Args:
        content: Picture file.
        look: Picture file of the manner; it is brought to the same longer side.
        blend: What it is judged by.
        start: What is begun with.
        request: By what, and where to.

    Raises:
        FileExistsError: A file to write exists, or is one that is read.
        FileNotFoundError: There is no such picture or network.
        ValueError: A picture or a setting is none, or there is not enough memory.
    """
    easel = _Easel(request or Request(), (content, look), STYLE)
    blend = blend or Blend()
    paths, middle = blend.paths(easel.eyes)
    shown, manner = (easel.read(one, (*paths, middle)) for one in (content, look))
    made = styles.style(
        easel.eyes, shown, manner, blend=blend, start=start, how=easel.how, watch=easel.watch
    )
    return easel.done(made, (*paths, middle))


def texture(
    look: str | Path, *, blend: Blend | None = None, request: Request | None = None
) -> Made:
    """Makes more of a texture, from noise, see `zoo.explain.texture`; raises like `style`.

    Args:
        look: Picture file of the texture.
        blend: Its layers, pooling and weights, without that of the content.
        request: By what, and where to.
    """
    easel = _Easel(request or Request(), (look,), TEXTURE)
    blend = blend or ALIKE
    paths, _ = blend.paths(easel.eyes)
    manner = easel.read(look, paths)
    made = styles.texture(easel.eyes, manner, blend=blend, how=easel.how, watch=easel.watch)
    return easel.done(made, paths)


def dream(
    picture: str | Path, *, layers: Sequence[str] = (), request: Request | None = None
) -> Made:
    """Shows what layers find in a picture, more of it in every step, see `zoo.explain.dream`.

    It raises like `style`.

    Args:
        picture: Picture file.
        layers: Those that give maps; none for the usual one of the content.
        request: By what, and where to.
    """
    easel = _Easel(request or Request(), (picture,), DREAM)
    paths = tuple(map(easel.eyes.find_layer, layers)) or (easel.eyes.usual()[1],)
    shown = easel.read(picture, paths)
    made = dreams.dream(easel.eyes, shown, paths, how=easel.how, watch=easel.watch)
    return easel.done(made, paths)


def invert(picture: str | Path, *, layer: str, request: Request | None = None) -> Made:
    """Makes a picture that a layer takes for the given one, see `zoo.explain.invert`.

    It raises like `style`.

    Args:
        picture: Picture file.
        layer: One that gives maps.
        request: By what, and where to.
    """
    easel = _Easel(request or Request(), (picture,), INVERT)
    path = easel.eyes.find_layer(layer)
    shown = easel.read(picture, [path])
    made = inversion.invert(easel.eyes, shown, path, how=easel.how, watch=easel.watch)
    return easel.done(made, (path,))


class _Easel:
    """Checks, reads, and writes; what is to be written is checked before anything is computed."""

    def __init__(self, request: Request, read: Sequence[str | Path], usual: Descent):
        self._request, self.how = request, request.how or usual
        if request.size < SMALLEST or request.every < 0:
            raise ValueError(
                f"--size: got {request.size}, --every {request.every}; expected {SMALLEST} pixels "
                "or more, and 0 or more steps."
            )
        self._files = [] if request.out is None else self._named(Path(request.out))
        for place in self._files:
            check_png(place, force=request.force, read=[Path(one) for one in read])
        self._written: list[Path] = []
        for one in read:
            read_image(one)  # before the network, which takes a while
        self.eyes = _opened(request)

    def _named(self, out: Path) -> list[Path]:
        """Files of the pictures on the way, and the last one."""
        every = self._request.every
        steps = range(every, self.how.steps * self.how.octaves, every) if every else ()
        return [*(_on_the_way(out, step) for step in steps), out]

    def read(self, path: str | Path, paths: Sequence[str]) -> np.ndarray:
        """Reads a picture as intensities (height, width, channels) of that longer side.

        Args:
            path: The file.
            paths: Layers whose maps of it are computed.
        """
        image, size = read_image(path), self._request.size
        share = size / max(image.size)
        sides = [max(round(side * share), 1) for side in image.size]
        told = f"{path}: {image.width} x {image.height} pixels"
        if min(sides) < SMALLEST:
            raise ValueError(
                f"{told}, {sides[0]} x {sides[1]} at --size {size}; expected sides of {SMALLEST} "
                "or more."
            )
        self._check_memory(paths, (sides[1], sides[0]))
        if tuple(sides) != image.size:
            LOG.info("%s, brought to %d x %d", told, *sides)
        pixels = np.asarray(image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS))
        if self.eyes.channels == 3 and (pixels == pixels[..., :1]).all():
            LOG.info("%s: is grey; red, green and blue are alike", path)
        return recolour(pixels[None], self.eyes.channels)[0].astype(np.float32) / 255

    def _check_memory(self, paths: Sequence[str], sides: tuple[int, int]) -> None:
        """Refuses a size whose maps do not fit into half of this machine's memory."""
        values = math.prod(sides) * self.eyes.channels
        needed = self.eyes.needed_bytes(paths, sides) + PER_VALUE * values
        known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if known else math.inf
        if needed > whole / 2:
            size = int(self._request.size * math.sqrt(whole / 2 / needed))
            raise ValueError(
                f"--size: got {self._request.size}, for which the maps of {self.eyes.name} take "
                f"about {needed / 1e9:.0f} GB; this machine has {whole / 1e9:.0f} GB. Take "
                f"{max(size // 16 * 16, SMALLEST)} or less."
            )

    def watch(self, stage: Stage) -> None:
        """Writes a picture on the way, when it is its turn, and says how far it is."""
        every, out = self._request.every, self._request.out
        if every and out is not None and stage.step % every == 0:
            place = _on_the_way(Path(out), stage.step)
            if place in self._files:
                save_png(_pixels(stage.picture), place)
                self._written.append(place)
                LOG.info("%s: step %d, loss %.4g", place, stage.step, stage.loss)

    def done(self, made: Painted, layers: tuple[str, ...]) -> Made:
        """Writes the picture and returns what was made."""
        pixels = _pixels(made.picture)
        if self._request.out is not None:
            save_png(pixels, Path(self._request.out))
            self._written.append(Path(self._request.out))
        return Made(pixels, made.losses, made.terms, layers, tuple(self._written))


def _on_the_way(out: Path, step: int) -> Path:
    return out.with_name(f"{out.stem}-{step:04d}{out.suffix}")


def _pixels(picture: np.ndarray) -> np.ndarray:
    return recolour(to_pixels(picture, low=0.0)[None], 3)[0]


def _opened(request: Request) -> Perception:
    """The network that looks."""
    network = request.network
    if own.is_own(network):
        model, name, _, _ = own.opened(network)
        shape = tuple(model.inputs[0].shape)
        channels = shape[-1] if len(shape) == 4 and shape[-1] in (1, 3) else 3
        values = ranges_of(model, request.values or WHOLE, channels=channels)[0]
        if request.values is None:
            LOG.warning("%s: is given pixels of %s; --values says otherwise", name, values)
        return Perception(name, model, as_range(NOMINAL, channels, values))
    if request.values is not None:
        raise ValueError(f"--values: got {request.values} for {network}, which says it itself.")
    return open_perception(network.path if isinstance(network, Bundle) else network)
