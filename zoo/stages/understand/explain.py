"""Looks into a classifier, and draws what it sees; what verbs and Python users call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np

from zoo import explain as looks
from zoo.common.settings import nearest
from zoo.explain import drawing
from zoo.explain.drawing import Tile
from zoo.explain.methods import ALL, MAPS, check_said
from zoo.stages.png import check_npz, check_png, save_npz, save_png
from zoo.stages.predict import Brought
from zoo.stages.understand.classifiers import Model, Opened, open_classifier

LAYERED = tuple(name for name, method in MAPS.items() if "layer" in method.takes)
LOG = logging.getLogger("zoo")
Maps = Mapping[str, np.ndarray]


class Explained(NamedTuple):
    """Where a classifier looks.

    Attributes:
        label: Name of the class that was asked about.
        probability: How likely the model holds it.
        layer: Layer of Grad-CAM; empty where it is not asked for.
        pixels: The picture as the model reads it (side, side, channels), uint8.
        maps: By method, (side, side, channels), or (h, w) of places.
        sheet: All of it, drawn.
    """

    label: str
    probability: float
    layer: str
    pixels: np.ndarray
    maps: Maps
    sheet: np.ndarray


def explain_picture(
    model: Model,
    picture: str | Path,
    *,
    method: str = "grad_cam",
    label: str | int | None = None,
    layer: str | None = None,
    out: str | Path | None = None,
    arrays: str | Path | None = None,
    force: bool = False,
    **brought: Unpack[Brought],
) -> Explained:
    """Says where a classifier looks when it names what is on a picture.

    Args:
        model: See `zoo.stages.understand.classifiers.open_classifier`.
        picture: Picture file.
        method: A key of `zoo.explain.methods.MAPS`, or `all`.
        label: Class that is asked about, by name or number; `None`: the one that is predicted.
        layer: Layer of Grad-CAM; `None`: see `zoo.explain.last_map`.
        out: PNG file to write; `None` writes none.
        arrays: NPZ file to write, `pixels` and the maps by method; `None` writes none.
        force: Whether they may replace files.
        **brought: What belongs to a model that is no bundle.

    Raises:
        FileExistsError: A file to write exists.
        FileNotFoundError: There is no such model or picture.
        ValueError: There is no such method, class or layer, or the model has no convolution where
            the method needs one.
    """
    if method not in (*MAPS, ALL):
        raise ValueError(f"method {method!r}: unknown. {nearest(method, (*MAPS, ALL))}")
    check_said(method, {"picture": picture, "layer": layer})
    read = [Path(picture)]
    place = None if out is None else check_png(out, force=force, read=read)
    table = None if arrays is None else check_npz(arrays, force=force, read=read)
    opened = open_classifier(model, **brought)
    seen, pixels = opened.seen, opened.picture(picture)
    inputs = opened.known.apply(pixels[None])
    scores = seen.scores(inputs)[0].astype(np.float64)
    index = opened.find_class(label)
    index = int(scores.argmax()) if index is None else index
    path = ""
    if method in LAYERED or layer is not None:
        path = seen.last_map() if layer is None else seen.find_layer(layer, maps=True)
    elif method == ALL:
        try:
            path = seen.last_map()
        except ValueError as error:
            LOG.info("%s", error)
    chosen = [one for one in MAPS if method in (one, ALL) and (path or one not in LAYERED)]
    black = opened.known.apply(np.zeros_like(pixels[None]))
    mean = np.broadcast_to(inputs.mean(axis=(1, 2), keepdims=True), inputs.shape)
    settings: dict[str, dict[str, Any]] = {
        "grad_cam": {"layer": path},
        "integrated_gradients": {"baseline": black},
        "occlusion": {"value": mean},
    }
    maps = {
        one: getattr(looks, one)(seen, inputs, index, **settings.get(one, {}))[0] for one in chosen
    }
    share = float(seen.shares(scores[None])[0, index])
    sheet = _drawn(opened, pixels, maps, f"{opened.labels[index]} {share:.3f}", path)
    if place is not None:
        save_png(sheet, place)
    if table is not None:
        save_npz({"pixels": pixels, **maps}, table)
    return Explained(opened.labels[index], share, path, pixels, maps, sheet)


def _drawn(opened: Opened, pixels: np.ndarray, maps: Maps, title: str, layer: str) -> np.ndarray:
    """The picture, and each map alone and over it."""
    tiles = [Tile(f"{title}\n{opened.name}", pixels)]
    size = pixels.shape[:2]
    for name, found in maps.items():
        told = f"{name}\n{layer}" if name in LAYERED else name
        if len(maps) == 1:
            tiles.append(Tile(told, drawing.heat(found, size)))
        alone = name in ("guided_backprop", "deconvnet")
        tiles.append(Tile(told, drawing.signed(found) if alone else drawing.overlay(pixels, found)))
    return drawing.sheet(tiles, columns=4)
