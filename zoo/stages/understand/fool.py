"""Looks at what fools a classifier: attacks on a picture, on a test split, and noise.

All nets read pixels from 0 to 1 here, see `Opened.unit`, and so are the arrays that come of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo import explain as looks
from zoo.explain import drawing
from zoo.explain.drawing import Tile
from zoo.explain.methods import ATTACKS
from zoo.stages.understand.asked import Asked, Looked
from zoo.stages.understand.classifiers import Examples, Opened, same_classes, told_apart
from zoo.tasks.pictures import colour

EPSILONS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # of 255 levels
MADE_OF = 60  # pictures that a universal perturbation is made of; the others tell what it does


def attack(opened: Opened, asked: Asked) -> Looked:
    """Changes a picture until it is named otherwise, by a method of `ATTACKS`."""
    opened = opened.unit()
    seen, pixels = opened.seen, opened.picture(asked.picture or "")
    inputs, index = opened.known.apply(pixels[None]), opened.find_class(asked.label)
    label = seen.classes(inputs, index)
    usual = {"epsilon": asked.epsilon / 255, "seed": asked.seed}
    takes = ATTACKS[asked.method].takes
    settings: dict[str, Any] = {name: value for name, value in usual.items() if name in takes}
    made = getattr(looks, asked.method)(seen, inputs, label, **settings)
    made = made if isinstance(made, np.ndarray) else made.inputs
    tiles, rows = [], []
    for name, one in (("the picture", inputs), (asked.method, made)):
        shares = seen.shares(seen.scores(one))[0]
        best = int(shares.argmax())
        far = 255 * np.abs(one - inputs).max()
        title = f"{opened.labels[best]} {shares[best]:.3f}"
        tiles.append(Tile(f"{title}\n{name}", drawing.of_unit(one[0])))
        rows.append({
            "picture": name, "class": opened.labels[best], "probability": float(shares[best]),
            "fooled": ("yes" if best != label[0] else "no") if one is made else "-",
            "most levels changed": float(far),
        })  # fmt: skip
    tiles.insert(1, Tile("the change,\nenlarged", drawing.signed((made - inputs)[0])))
    return Looked(rows, {asked.method: made[0]}, drawing.sheet(tiles, columns=3))


def robustness(opened: Opened, asked: Asked) -> Looked:
    """Measures accuracy against the most that a pixel changes, of this net and those beside it."""
    nets = _nets(opened, asked)
    found, labels = _labelled(opened, asked)
    rows = looks.robustness(
        nets, found.pixels / np.float32(255), labels, epsilons=[x / 255 for x in EPSILONS]
    )
    for row, level in zip(rows, EPSILONS, strict=True):
        row["epsilon"] = level
    sheet = _curves(rows)
    return Looked([{**row, "pictures": len(labels)} for row in rows], {}, sheet)


def _curves(rows: list[dict[str, Any]]) -> np.ndarray:
    """Accuracy over epsilon, a line for each net."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.6), dpi=100, layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(list(rows[0])[1:]):
        axes.plot(
            [row["epsilon"] for row in rows], [100 * row[name] for row in rows], marker="o",
            color=tuple(value / 255 for value in colour(number)), label=name,
        )  # fmt: skip
    axes.set(xlabel="most that a pixel changes, of 255 levels", ylabel="accuracy, %", ylim=(0, 101))
    axes.grid(alpha=0.3)
    axes.legend()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def transfer(opened: Opened, asked: Asked) -> Looked:
    """Measures what fools each net on the others, by the iterative attack."""
    nets = _nets(opened, asked)
    found, labels = _labelled(opened, asked)
    inputs = found.pixels / np.float32(255)
    made = {
        name: looks.iterative(one, inputs, labels, epsilon=asked.epsilon / 255)
        for name, one in nets.items()
    }
    rows = looks.transfer(nets, {"no net": inputs, **made}, labels)
    rows = [{**row, "pictures": len(labels)} for row in rows]
    tiles = [Tile("the picture", found.pixels[0])]
    tiles += [Tile(f"made with\n{name}", drawing.of_unit(one[0])) for name, one in made.items()]
    return Looked(rows, made, drawing.sheet(tiles, columns=4))


def universal(opened: Opened, asked: Asked) -> Looked:
    """Makes one change of some pictures, and measures what it does to others."""
    found = opened.examples(asked.data, asked.examples)
    seen, inputs = opened.unit().seen, found.pixels / np.float32(255)
    num = min(MADE_OF, len(inputs) // 2)
    change = looks.universal_perturbation(seen, inputs[:num], epsilon=asked.epsilon / 255)
    rows, named = [], {}
    for name, part in (("made of", inputs[:num]), ("others", inputs[num:])):
        before, after = (
            seen.scores(one).argmax(axis=1) for one in (part, (part + change).clip(0, 1))
        )
        rows.append({
            "pictures": name, "number": len(part), "levels": asked.epsilon,
            "named otherwise": float(np.mean(before != after)),
        })  # fmt: skip
        named[name] = before, after
    tiles = [Tile("the change,\nenlarged", drawing.signed(change))]
    for index in range(min(5, len(inputs) - num)):
        before, after = (opened.labels[one[index]] for one in named["others"])
        pixels = drawing.of_unit(inputs[num + index] + change)
        tiles.append(Tile(f"{before},\ntaken for {after}", pixels))
    return Looked(rows, {"universal": change}, drawing.sheet(tiles, columns=6, side=120))


def fooling(opened: Opened, asked: Asked) -> Looked:
    """Makes noise that is taken for a class, or for each of the first few."""
    index, seen = opened.find_class(asked.label), opened.unit().seen
    chosen = list(range(min(seen.num_classes, 10))) if index is None else [index]
    made = looks.fooling_images(seen, chosen, seed=asked.seed)
    tiles, rows = [], []
    for one, share, picture in zip(chosen, made.shares, made.inputs, strict=True):
        far = 255 * np.sqrt(np.mean((picture - made.start) ** 2))
        rows.append(
            {"of": opened.labels[one], "probability": float(share), "levels moved": float(far)}
        )
        tiles.append(Tile(f"{opened.labels[one]}\n{share:.3f}", drawing.of_unit(picture)))
    arrays = {"fooling_image": made.inputs}
    return Looked(rows, arrays, drawing.sheet(tiles, columns=5, side=128))


def _labelled(opened: Opened, asked: Asked) -> tuple[Examples, np.ndarray]:
    found = opened.examples(asked.data, asked.examples)
    return found, opened.classes_of(found).astype(np.int32)


def _nets(opened: Opened, asked: Asked) -> dict[str, looks.Classifier]:
    """The net and those beside it, by name, all reading pixels from 0 to 1."""
    nets = [opened, *(same_classes(opened, one) for one in asked.beside)]
    names = told_apart([one.name for one in nets])
    return {name: one.unit().seen for name, one in zip(names, nets, strict=True)}
