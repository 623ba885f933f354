"""Looks at what fools a classifier: attacks on a picture, on a test split, and noise."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from scipy.special import softmax

from zoo import explain as looks
from zoo.explain import drawing
from zoo.explain.drawing import Tile
from zoo.stages.asked import Asked, Looked
from zoo.stages.classifiers import Examples, Opened
from zoo.tasks.pictures import colour

EPSILONS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # of 255 levels
MADE_OF = 60  # pictures that a universal perturbation is made of; the others tell what it does


def attack(opened: Opened, asked: Asked) -> Looked:
    """Changes a picture until it is named otherwise, by a method of `ATTACKS`."""
    seen, pixels = opened.seen, opened.picture(asked.picture or "")
    inputs, bounds = opened.known.apply(pixels[None]), opened.known.span()
    index = opened.find_class(asked.label)
    label = seen.classes(inputs, index)
    settings: dict[str, Any] = {"bounds": bounds}
    if asked.method in ("fgsm", "iterative", "pgd"):
        settings["epsilon"] = asked.epsilon / 255 * (bounds[1] - bounds[0])
    made = getattr(looks, asked.method)(seen, inputs, label, **settings)
    made = made if isinstance(made, np.ndarray) else made.inputs
    tiles, rows = [], []
    for name, one in (("the picture", inputs), (asked.method, made)):
        shares = softmax(seen.scores(one)[0])
        best = int(shares.argmax())
        far = np.abs(one - inputs).max() / (bounds[1] - bounds[0]) * 255
        title = f"{opened.labels[best]} {shares[best]:.3f}"
        tiles.append(Tile(f"{title}\n{name}", drawing.stretched(one[0])))
        rows.append({
            "picture": name, "class": opened.labels[best], "probability": float(shares[best]),
            "most levels changed": float(far),
        })  # fmt: skip
    tiles.insert(1, Tile("the change,\nenlarged", drawing.signed((made - inputs)[0])))
    return Looked(rows, {asked.method: made[0]}, drawing.sheet(tiles, columns=3))


def robustness(opened: Opened, asked: Asked) -> Looked:
    """Measures accuracy against the most that a pixel changes, of this net and those beside it."""
    found, labels = _labelled(opened, asked)
    nets = _nets(opened, asked)
    low, high = opened.known.span()
    rows = looks.robustness(
        {name: one.seen for name, one in nets.items()},
        opened.known.apply(found.pixels),
        labels,
        epsilons=[level / 255 * (high - low) for level in EPSILONS],
        bounds=(low, high),
    )
    for row, level in zip(rows, EPSILONS, strict=True):
        row["epsilon"] = level
    return Looked(rows, {}, _curves(rows))


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
    found, labels = _labelled(opened, asked)
    nets, (low, high) = _nets(opened, asked), opened.known.span()
    inputs = opened.known.apply(found.pixels)
    made = {
        name: looks.iterative(
            one.seen, inputs, labels, epsilon=asked.epsilon / 255 * (high - low), bounds=(low, high)
        )
        for name, one in nets.items()
    }
    models = {name: one.seen for name, one in nets.items()}
    rows = looks.transfer(models, {"no net": inputs, **made}, labels)
    tiles = [Tile("the picture", found.pixels[0])]
    tiles += [Tile(f"made with\n{name}", drawing.stretched(one[0])) for name, one in made.items()]
    return Looked(rows, made, drawing.sheet(tiles, columns=4))


def universal(opened: Opened, asked: Asked) -> Looked:
    """Makes one change of some pictures, and measures what it does to others."""
    found = opened.examples(asked.data, asked.examples)
    inputs, (low, high) = opened.known.apply(found.pixels), opened.known.span()
    num = min(MADE_OF, len(inputs) // 2)
    epsilon = asked.epsilon / 255 * (high - low)
    change = looks.universal_perturbation(
        opened.seen, inputs[:num], epsilon=epsilon, bounds=(low, high)
    )
    rows, named = [], {}
    for name, part in (("made of", inputs[:num]), ("others", inputs[num:])):
        before, after = (
            opened.seen.scores(one).argmax(axis=1)
            for one in (part, (part + change).clip(low, high))
        )
        rows.append({
            "pictures": name, "number": len(part), "levels": asked.epsilon,
            "named otherwise": float(np.mean(before != after)),
        })  # fmt: skip
        named[name] = before, after
    tiles = [Tile("the change,\nenlarged", drawing.signed(change))]
    for index in range(min(5, len(inputs) - num)):
        before, after = (opened.labels[one[index]] for one in named["others"])
        pixels = drawing.stretched((inputs[num + index] + change).clip(low, high))
        tiles.append(Tile(f"{before},\ntaken for {after}", pixels))
    return Looked(rows, {"universal": change}, drawing.sheet(tiles, columns=6, side=120))


def fooling(opened: Opened, asked: Asked) -> Looked:
    """Makes noise that is taken for a class, or for each of the first few."""
    index, seen = opened.find_class(asked.label), opened.seen
    chosen = list(range(min(seen.num_classes, 10))) if index is None else [index]
    low, high = opened.known.span()
    made = looks.fooling_images(seen, chosen, bounds=(low, high), seed=asked.seed)
    tiles, rows = [], []
    for one, share, picture in zip(chosen, made.shares, made.inputs, strict=True):
        far = np.sqrt(np.mean((picture - made.start) ** 2)) / (high - low) * 255
        rows.append(
            {"of": opened.labels[one], "probability": float(share), "levels moved": float(far)}
        )
        pixels = np.rint((picture - low) / (high - low) * 255).astype(np.uint8)
        tiles.append(Tile(f"{opened.labels[one]}\n{share:.3f}", pixels))
    arrays = {"fooling_image": made.inputs}
    return Looked(rows, arrays, drawing.sheet(tiles, columns=5, side=128))


def _labelled(opened: Opened, asked: Asked) -> tuple[Examples, np.ndarray]:
    found = opened.examples(asked.data, asked.examples)
    if found.labels is None:
        raise ValueError(f"{found.name}: has no classes; expected a data set with one each.")
    return found, found.labels.astype(np.int32)


def _nets(opened: Opened, asked: Asked) -> dict[str, Opened]:
    return {one.name: _reading_as(opened, one) for one in (opened, *asked.beside)}


def _reading_as(opened: Opened, other: Opened) -> Opened:
    """Another net as one that reads what the first does: pixels of another range are mapped.

    Raises:
        ValueError: It reads pictures of another size.
    """
    if other.known.shape != opened.known.shape:
        raise ValueError(
            f"{other.name}: reads pictures of {other.known.shape}, {opened.name} of "
            f"{opened.known.shape}; expected one that was made of it, e.g. by `zoo compress`."
        )
    (factor, offset), (own, shift) = opened.known.affine, other.known.affine
    if np.array_equal(factor, own) and np.array_equal(offset, shift):
        return other
    scale = own / factor
    image = keras.Input(opened.known.shape, name="image")
    mapped = keras.layers.Rescaling(scale.tolist(), (shift - offset * scale).tolist())(image)
    net = keras.Model(image, other.seen.model(mapped), name=other.seen.model.name)
    return other._replace(seen=looks.Classifier(net), known=opened.known)
