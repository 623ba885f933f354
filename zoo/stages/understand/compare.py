"""Says what sets two classifiers apart, e.g. a net and what a compression made of it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo import explain as looks
from zoo.common import staging
from zoo.common.layouts import is_picture
from zoo.explain import drawing
from zoo.explain.differences import Comparison, most_hurt, per_class, same_maps
from zoo.explain.drawing import Tile
from zoo.explain.methods import COMPARED
from zoo.stages.opening import Opened as Reopened
from zoo.stages.png import check_png, save_png
from zoo.stages.understand.classifiers import (
    TASKS,
    Examples,
    Model,
    Opened,
    open_classifier,
    same_classes,
)

LOOKED, ATTACKED = 64, 32  # pictures of which Grad-CAMs, and distances to the border, are taken
HURT = 12  # pictures of a sheet
SOME, FEW = 256, 32  # pictures of a report on a compression, and those that it looks at
LABEL = "label"  # column of the class of all `TASKS`
OVERLAP = "Grad-CAM overlap"
LOG = logging.getLogger("zoo")


class Difference(NamedTuple):
    """What sets two classifiers apart.

    Attributes:
        facts: Plain values by name, what `zoo compare --json` prints.
        found: What was measured.
        sheet: The pictures that the second does worse on, with both Grad-CAMs.
    """

    facts: dict[str, Any]
    found: Comparison
    sheet: np.ndarray


class Pictures(NamedTuple):
    """Pictures that are asked about.

    Attributes:
        of: What they are of, in words.
        pixels: (n, side, side, channels), uint8.
        labels: Their classes (n,); `None` where they are not known.
        names: Of each.
    """

    of: str
    pixels: np.ndarray
    labels: np.ndarray | None
    names: list[str]


def compare(
    one: Model,
    other: Model,
    *,
    pictures: str | Path | None = None,
    data: str | None = None,
    examples: int = COMPARED,
    values: str | None = None,
    labels: Sequence[str] = (),
    out: str | Path | None = None,
    force: bool = False,
) -> Difference:
    """Compares two classifiers of equal inputs and classes, on the same pictures.

    Args:
        one: The first, e.g. what was compressed; see `classifiers.open_classifier`.
        other: The second, e.g. what came of it.
        pictures: Folder of pictures; those in a sub-folder that is named like a class are of it.
            `None`: a test split.
        data: Data set whose test split is taken; `None`: that of the first bundle.
        examples: Pictures of it, the first ones, at most.
        values: Range of the pixels of a model that is no bundle, see `zoo.stages.ranges`; of two
            such models one of each may be said, `0..1,0..255`.
        labels: Names of the classes of models that are no bundles.
        out: PNG file of the pictures that the second does worse on; a JSON file of that name has
            the rest. `None` writes neither.
        force: Whether they may replace files.

    Raises:
        FileExistsError: One of the files exists.
        FileNotFoundError: There is no such model, folder or data set.
        ValueError: They read pictures of unlike sizes, or have unlike classes, or there is no
            picture.
    """
    place = None if out is None else check_png(out, force=force, read=[])
    if place is not None:
        staging.check_file(place.with_suffix(".json"), force=force, read=[])
    first, second = _pair((one, other), values, labels)
    second = same_classes(first, second)
    nets = [first._replace(names=second.names), second]
    if pictures is not None and data is not None:
        raise ValueError(
            f"compare: got the folder {pictures} and the data set {data}; expected one."
        )
    asked = (
        _folder(Path(pictures), nets[0]) if pictures is not None else _split(nets, data, examples)
    )
    sides = [looks.Side(net.unit().seen, asked.pixels / np.float32(255)) for net in nets]
    found = looks.compare(*sides, asked.labels, looked=LOOKED, attacked=ATTACKED)
    chosen = most_hurt(found, HURT)
    facts = _facts(nets, asked, found, chosen)
    sheet = _sheet(nets, asked, sides, found, chosen)
    if place is not None:
        save_png(sheet, place)
        with staging.staged_file(place.with_suffix(".json")) as partial:
            partial.write_text(json.dumps(facts, indent=2) + "\n")
    return Difference(facts, found, sheet)


def beside_parent(parent: Reopened, model: Any) -> dict[str, Any]:
    """Returns what a report on a compression tells: some test pictures are enough.

    Args:
        parent: The bundle that was compressed.
        model: What came of it.

    Returns:
        `pictures`, `same_top1`, `correlation`, `ece` of each, `hurt` and `mended`, `classes`, see
        `zoo.explain.differences.Comparison` and `per_class`, and where both have convolutions
        `overlap` and `chance` of the `looked` first ones; nothing of what classifies no pictures,
        or cannot be looked into.
    """
    run = parent.run
    if run.task.kind not in TASKS or run.data.columns[run.data.input].kind != "image":
        return {}
    raw = run.raw("test", SOME)
    inputs, labels = run.inputs(raw), raw[LABEL].astype(np.int64)
    try:
        sides = [looks.Side(looks.Classifier(one), inputs) for one in (parent.model, model)]
    except (TypeError, ValueError) as error:  # has no graph, or other outputs
        LOG.info("not compared with its parent: %s", error)
        return {}
    found = looks.compare(*sides, labels, looked=FEW, attacked=0)
    facts: dict[str, Any] = {
        "pictures": len(inputs), "same_top1": found.same_top1, "correlation": found.correlation,
        "ece": found.ece, **_paid(found, parent.bundle.card.labels),
    }  # fmt: skip
    if found.looked:
        facts |= {"overlap": found.overlap, "chance": found.chance, "looked": found.looked}
    return facts


def _paid(found: Comparison, names: tuple[str, ...]) -> dict[str, Any]:
    """What pictures and classes paid."""
    one, other = found.right
    return {
        "hurt": int((one & ~other).sum()), "mended": int((other & ~one).sum()),
        "classes": per_class(found, names),
    }  # fmt: skip


def told(facts: Mapping[str, Any]) -> str:
    """Returns in a line how alike two nets are, of what `beside_parent` returns."""
    line = (
        f"same top-1 {facts['same_top1']:.1%} of {facts['pictures']} pictures, correlation of "
        f"logits {facts['correlation']:.4f}"
    )
    if facts.get("overlap") is not None:
        line += f", {OVERLAP} {facts['overlap']:.3f}"
    if facts.get("chance") is not None:
        line += f" (of other pictures {facts['chance']:.3f})"
    return line


def _pair(models: Sequence[Model], values: str | None, labels: Sequence[str]) -> list[Opened]:
    """Opens both; what is said of models that are no bundles is said of those alone."""
    from zoo.stages import own

    ranges = (values or "").split(",")
    if len(ranges) == 2 and not all(map(own.is_own, models)):
        raise ValueError(
            f"--values: got {values}, a range of each, and a bundle, which says its own; expected "
            "one range."
        )
    if len(ranges) > 2:
        raise ValueError(f"--values: got {values}; expected one range, or one of each, A,B.")
    return [
        open_classifier(model, labels=labels, values=one or None)
        if own.is_own(model)
        else open_classifier(model)
        for model, one in zip(models, ranges * (3 - len(ranges)), strict=True)
    ]


def _split(nets: list[Opened], data: str | None, count: int) -> Pictures:
    source = next((net for net in nets if net.bundle is not None), nets[0])
    found: Examples = source.examples(data, count)
    names = [str(index) for index in range(len(found.pixels))]
    labels = None if found.labels is None else source.classes_of(found)
    return Pictures(f"test pictures of {found.name}", found.pixels, labels, names)


def _folder(root: Path, net: Opened) -> Pictures:
    """The pictures of a folder, with their classes where all lie in folders of those names."""
    if not root.is_dir():
        raise FileNotFoundError(f"--pictures: {root}: no such folder.")
    files = sorted(file for file in root.rglob("*") if is_picture(file))
    if not files:
        raise ValueError(f"--pictures: {root}: holds no pictures; expected one or more.")
    labels = [net.class_of_folder(file.parent.name) for file in files]
    strays = [file for file, label in zip(files, labels, strict=True) if label is None]
    if 0 < len(strays) < len(files):
        LOG.warning(
            "--pictures: %d of %d lie in no folder that is named like one class of %s, e.g. %s; "
            "nothing is counted by class", len(strays), len(files), net.name, strays[0],
        )  # fmt: skip
    names = [str(file.relative_to(root)) for file in files]
    sure = None if strays else np.array(labels)
    return Pictures(f"pictures of {root}", net.pictures(files), sure, names)


def _facts(
    nets: list[Opened], asked: Pictures, found: Comparison, chosen: np.ndarray
) -> dict[str, Any]:
    labels, (one, other), shares = nets[0].labels, found.guesses, found.shares
    known = asked.labels is not None
    sides = []
    for index, net in enumerate(nets):
        side: dict[str, Any] = {"name": net.name}
        if known:
            side["top1"] = float(found.right[index].mean())
        if found.ece is not None:
            side["ece"] = found.ece[index]
        side["confidence"] = float(shares[index].max(axis=1).mean())
        if found.margins is not None:
            far = found.margins[index]
            side |= {"margin": far if math.isfinite(far) else None, "fooled": found.fooled[index]}
        sides.append(side)
    facts: dict[str, Any] = {
        "of": asked.of, "pictures": len(asked.pixels), "sides": sides,
        "same_top1": found.same_top1, "correlation": found.correlation,
        "overlap": found.overlap, "chance": found.chance, "looked": found.looked,
        "attacked": found.attacked,
    }  # fmt: skip
    if known:
        facts |= _paid(found, labels)
    facts["worst"] = [
        {
            "picture": asked.names[i],
            "label": labels[found.labels[i]] if known else "",
            "first": labels[one[i]], "first_probability": float(shares[0][i, one[i]]),
            "second": labels[other[i]], "second_probability": float(shares[1][i, other[i]]),
            "fall": float(found.falls[i]),
        }
        for i in chosen
    ]  # fmt: skip
    return facts


def _seen(sides: list[looks.Side]) -> tuple[looks.Classifier, looks.Classifier]:
    one, other = (looks.Classifier.of(side.model) for side in sides)
    return one, other


def _sheet(
    nets: list[Opened],
    asked: Pictures,
    sides: list[looks.Side],
    found: Comparison,
    chosen: np.ndarray,
) -> np.ndarray:
    """Each picture, and both Grad-CAMs of the class that it is of; alone without convolutions."""
    labels, tiles = nets[0].labels, []
    if not len(chosen):
        return drawing.sheet([Tile("no picture lost anything", asked.pixels[0])], columns=1)
    classes = found.labels[chosen]
    maps = None
    if (paths := same_maps(_seen(sides))) is not None:
        maps = [
            looks.grad_cam(side.model, side.inputs[chosen], classes, layer=path)
            for side, path in zip(sides, paths, strict=True)
        ]
    for place, index in enumerate(chosen):
        title = labels[classes[place]] if asked.labels is not None else ""
        tiles.append(Tile(f"{asked.names[index]}\n{title}", asked.pixels[index]))
        for number, net in enumerate(nets):
            guess = found.guesses[number][index]
            told = f"{net.name}\n{labels[guess]} {found.shares[number][index, guess]:.2f}"
            pixels = asked.pixels[index]
            if maps is not None:
                pixels = drawing.overlay(pixels, maps[number][place])
            tiles.append(Tile(told, pixels))
    return drawing.sheet(tiles, columns=6, side=120)
