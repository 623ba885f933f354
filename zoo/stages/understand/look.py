"""Looks at the layers of a classifier, and at pictures that are made for it.

What fools it is looked at in `zoo.stages.understand.fool`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo import explain as looks
from zoo.common.settings import nearest
from zoo.explain import drawing
from zoo.explain.drawing import Tile
from zoo.explain.methods import ATTACKS, LAYERS, check_said
from zoo.explain.spaces import Neighbours
from zoo.stages.png import check_npz, check_png, save_npz, save_png
from zoo.stages.understand import fool
from zoo.stages.understand.asked import Asked, Looked
from zoo.stages.understand.classifiers import Examples, Opened
from zoo.tasks.pictures import colour, shown

COUNT = 9  # patches of a unit
UNITS = 6  # units that patches are drawn of where none is chosen
QUERIES, NEAR = 6, 7
MOST = 64  # filters, or maps, of a sheet
CANVAS, THUMB = 760, 24  # pixels of a scatter of thumbnails, and of one


def look(
    opened: Opened,
    asked: Asked,
    *,
    out: str | Path | None = None,
    arrays: str | Path | None = None,
    force: bool = False,
) -> Looked:
    """Looks at a layer of a classifier, or fools it.

    Args:
        opened: The classifier.
        asked: What is looked at.
        out: PNG file to write; `None` writes none.
        arrays: NPZ file to write, of what is drawn; `None` writes none.
        force: Whether they may replace files.

    Raises:
        FileExistsError: A file to write exists.
        FileNotFoundError: There is no such picture or data set.
        ValueError: There is no such method, class, layer or unit; or something is missing.
    """
    known = {**LAYERS, **ATTACKS}
    if asked.method not in known:
        raise ValueError(f"method {asked.method!r}: unknown. {nearest(asked.method, known)}")
    check_said(asked.method, asked.said())
    read = [asked.picture] if asked.picture else []
    place = None if out is None else check_png(out, force=force, read=read)
    table = None if arrays is None else check_npz(arrays, force=force, read=read)
    found: Looked = _LOOKS.get(asked.method, fool.attack)(opened, asked)
    if place is not None:
        save_png(found.sheet, place)
    if table is not None:
        save_npz(found.arrays, table)
    return found


def _layer(opened: Opened, asked: Asked, *, maps: bool = False) -> str:
    seen = opened.seen
    return seen.last_map() if asked.layer is None else seen.find_layer(asked.layer, maps=maps)


def _filters(opened: Opened, asked: Asked) -> Looked:
    found = looks.filters(opened.seen, asked.layer)
    colours = found if found.shape[3] in (1, 3) else found[..., :1]
    tiles = [Tile("", drawing.stretched(one)) for one in colours[:MOST]]
    height, width, channels = found.shape[1:]
    rows = [{
        "layer": asked.layer or "the first convolution", "filters": len(found),
        "height": height, "width": width, "channels": channels,
    }]  # fmt: skip
    return Looked(rows, {"filters": found}, drawing.sheet(tiles, columns=8, side=48))


def _activations(opened: Opened, asked: Asked) -> Looked:
    path = _layer(opened, asked, maps=True)
    pixels = opened.picture(asked.picture or "")
    maps = looks.activations(opened.seen, opened.known.apply(pixels[None]), path)[0]
    order = np.argsort(-maps.max(axis=(0, 1)), kind="stable")[: MOST - 1]
    size = pixels.shape[:2]
    tiles = [Tile(path, pixels)]
    tiles += [Tile(f"unit {unit}", drawing.heat(maps[..., unit], size)) for unit in order]
    silent = int((maps.max(axis=(0, 1)) <= 0).sum())
    rows = [{"layer": path, "units": maps.shape[2], "silent": silent}]
    return Looked(rows, {"activations": maps}, drawing.sheet(tiles, columns=8, side=96))


def _patches(opened: Opened, asked: Asked) -> Looked:
    path = _layer(opened, asked, maps=True)
    found = opened.examples(asked.data, asked.examples)
    inputs = opened.known.apply(found.pixels)
    num = int(opened.seen.shape(path)[-1] or 0)
    units = [asked.unit] if asked.unit is not None else list(range(min(UNITS, num)))
    tiles, rows = [], []
    arrays: dict[str, np.ndarray] = {}
    for unit in units:
        best = looks.maximal_patches(opened.seen, inputs, path, unit=unit, count=COUNT)
        for value, index, box in zip(*best, strict=True):
            y1, x1, y2, x2 = box
            patch = Image.fromarray(shown(found.pixels[index])[y1:y2, x1:x2]).resize((64, 64), 0)
            tiles.append(Tile(f"{unit}: {value:.3g}", np.asarray(patch)))
        rows.append({
            "layer": path, "unit": unit, "most": float(best.values[0]),
            "picture": int(best.pictures[0]), "box": " ".join(map(str, best.boxes[0])),
        })  # fmt: skip
        arrays |= {f"{name}{unit}": value for name, value in best._asdict().items()}
    return Looked(rows, arrays, drawing.sheet(tiles, columns=COUNT, side=64))


def _features(opened: Opened, asked: Asked) -> tuple[str, Examples, np.ndarray]:
    path = _layer(opened, asked)
    found = opened.examples(asked.data, asked.examples)
    return path, found, looks.features(opened.seen, opened.known.apply(found.pixels), path)


def _neighbours(opened: Opened, asked: Asked) -> Looked:
    path, found, features = _features(opened, asked)
    if asked.picture is not None:
        queries = opened.picture(asked.picture)[None]
        asking = looks.features(opened.seen, opened.known.apply(queries), path)
        near = looks.neighbours(features, asking, count=min(NEAR, len(features)))
    else:
        queries, count = found.pixels[:QUERIES], min(NEAR + 1, len(features))
        near = without_themselves(looks.neighbours(features, features[: len(queries)], count=count))
    tiles, rows = [], []
    for number, query in enumerate(queries):
        tiles.append(Tile(f"picture {number}", query))
        for index, far in zip(near.indices[number], near.distances[number], strict=True):
            tiles.append(Tile(f"{found.named(index)}\n{far:.3g} away", found.pixels[index]))
            rows.append({"picture": number, "example": int(index), "distance": float(far),
                         "class": found.named(index)})  # fmt: skip
    sheet = drawing.sheet(tiles, columns=near.indices.shape[1] + 1, side=72)
    return Looked(rows, near._asdict(), sheet)


def without_themselves(near: Neighbours) -> Neighbours:
    """Returns neighbours of the first examples without these themselves, or the furthest.

    An example that is there twice is as near as itself, and may come first.

    Args:
        near: (queries, count), of queries that are the first of the examples.
    """
    keep = near.indices != np.arange(len(near.indices))[:, None]
    keep[keep.all(axis=1), -1] = False
    return Neighbours(*(one[keep].reshape(len(one), -1) for one in near))


def _plane(opened: Opened, asked: Asked) -> Looked:
    path, found, features = _features(opened, asked)
    settings = {} if asked.method == "pca" else {"seed": asked.seed}
    places = getattr(looks, asked.method)(features, **settings)
    low, span = places.min(axis=0), np.maximum(np.ptp(places, axis=0), 1e-12)
    corners = ((places - low) / span * (CANVAS - THUMB)).astype(int)
    canvas = Image.new("RGB", (CANVAS, CANVAS), "white")
    for index in range(len(places)):
        thumb = Image.fromarray(shown(found.pixels[index])).resize((THUMB - 4, THUMB - 4))
        kind = 0 if found.labels is None else int(found.labels[index])
        frame = Image.new("RGB", (THUMB, THUMB), colour(kind))
        frame.paste(thumb, (2, 2))
        canvas.paste(frame, (int(corners[index, 0]), int(corners[index, 1])))
    rows = [
        {"layer": path, "data": found.name, "examples": len(places), "units": features.shape[1]}
    ]
    return Looked(rows, {asked.method: places, "features": features}, np.asarray(canvas))


def _hidden(opened: Opened, asked: Asked) -> Looked:
    path, _, features = _features(opened, asked)
    units = looks.hidden_units(features)
    order = np.argsort(-features.mean(axis=0), kind="stable")
    top = max(float(np.percentile(np.abs(features), drawing.TOP)), 1e-12)
    answers = np.abs(features[:200, order]) / top  # (examples, units)
    tiles = [
        Tile(f"{path}: answers\n(examples down, units across)", drawing.heat(answers, (320, 320))),
        Tile("correlation of units\n(light: alike or opposite)",
             drawing.heat(np.abs(units.correlation[order][:, order]), (320, 320))),
    ]  # fmt: skip
    rows = [{
        "layer": path, "examples": len(features), "units": features.shape[1],
        "active": float(units.active.mean()), "selective": float(units.selective.mean()),
        "sparse": units.sparse, "dead": _few(units.dead),
        "duplicates": _few([f"{one}={other}" for one, other in units.duplicates]),
    }]  # fmt: skip
    arrays = {name: np.asarray(value) for name, value in units._asdict().items()}
    return Looked(rows, arrays, drawing.sheet(tiles, columns=2, side=320))


def _climb(opened: Opened, asked: Asked) -> Looked:
    how, seen = looks.Ascent(seed=asked.seed), opened.unit().seen
    tiles, rows = [], []
    arrays: dict[str, np.ndarray] = {}
    if asked.method == "class_image":
        index = opened.find_class(asked.label)
        chosen = list(range(min(seen.num_classes, 10))) if index is None else [index]
        names = [opened.labels[one] for one in chosen]
        made = looks.class_images(seen, chosen, how)
    else:
        path = _layer(opened, asked)
        num = int(seen.shape(path)[-1] or 0)
        units = list(range(min(UNITS, num))) if asked.unit is None else [asked.unit]
        names = [f"{path} {one}" for one in units]
        made = looks.neurons(seen, path, units=units, how=how)
    for name, one in zip(names, made, strict=True):
        title = f"{name}\n{one.start:.3g} to {one.end:.3g}"
        tiles.append(Tile(title, drawing.of_unit(one.picture)))
        rows.append({"of": name, "start": one.start, "end": one.end, "times noise": one.gain})
        arrays[name] = one.picture
    return Looked(rows, arrays, drawing.sheet(tiles, columns=5, side=128))


def _few(names: Sequence[Any], most: int = 12) -> str:
    told = ", ".join(str(name) for name in names[:most])
    return f"{told} and {len(names) - most} more" if len(names) > most else told or "none"


_LOOKS: Mapping[str, Any] = {
    "filters": _filters,
    "activations": _activations,
    "maximal_patches": _patches,
    "neighbours": _neighbours,
    "pca": _plane,
    "tsne": _plane,
    "umap": _plane,
    "hidden_units": _hidden,
    "class_image": _climb,
    "neuron": _climb,
    "robustness": fool.robustness,
    "transfer": fool.transfer,
    "universal": fool.universal,
    "fooling_image": fool.fooling,
}
