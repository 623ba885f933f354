"""What the units of a layer answer to: filters, maps, the patches they like best, who is dead.

Sources: maximal patches, Girshick et al. 2014, arXiv:1311.2524, section 3.1, and Zeiler & Fergus
2014, arXiv:1311.2901, section 4.1; sparsity over examples and over units, Willmore & Tolhurst 2001,
doi:10.1080/net.12.3.255.277.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compress.graph import leaf_layers
from compress.graph.kernels import computed_kernel, inner
from zoo.explain.classifier import Classifier, Model
from zoo.explain.fields import receptive_field
from zoo.explain.layers import CONVOLUTIONS

DEAD = 1e-6  # an answer of less is none
ALIKE = 0.99  # correlation from which on two units say the same


class Patches(NamedTuple):
    """What a unit answers to most strongly, the strongest first; one patch of each picture.

    Attributes:
        values: Its answers, (count,).
        pictures: Index of the picture of each, (count,).
        boxes: The pixels that the place of the answer sees, y1 x1 y2 x2, (count, 4).
    """

    values: np.ndarray
    pictures: np.ndarray
    boxes: np.ndarray


class Units(NamedTuple):
    """How the units of a layer answer to some examples.

    Attributes:
        mean: Mean answer, (units,).
        deviation: Its standard deviation, (units,).
        active: Share of the examples that a unit answers to with more than 0, (units,).
        selective: Lifetime sparsity, (units,): 0 answers to all examples alike, 1 to one of them.
        sparse: Population sparsity, the mean over the examples, 0 to 1: 1 is one unit each.
        correlation: Of the units' answers, (units, units); 0 of a unit that never changes.
        dead: Indices of the units whose answer is the same for all examples.
        duplicates: Pairs of units whose answers have a correlation of `ALIKE` or more.
    """

    mean: np.ndarray
    deviation: np.ndarray
    active: np.ndarray
    selective: np.ndarray
    sparse: float
    correlation: np.ndarray
    dead: list[int]
    duplicates: list[tuple[int, int]]


def filters(model: Model, layer: str | None = None) -> np.ndarray:
    """Returns the filters of a convolution, (filters, height, width, channels).

    Args:
        model: A classifier.
        layer: Path of a convolution; `None`: the first, whose channels are those of the pictures.

    Raises:
        ValueError: There is no such layer, or it has no filters.
    """
    seen = Classifier.of(model)
    found = {
        path: layer
        for path, layer in leaf_layers(seen.model)
        if type(inner(layer)).__name__ in CONVOLUTIONS
        and len(getattr(computed_kernel(layer), "shape", ())) == 4
    }
    if layer is None and not found:
        raise ValueError(f"{seen.model.name}: has no convolution; expected one with filters.")
    path = next(iter(found)) if layer is None else seen.find_layer(layer)
    if path not in found:
        raise ValueError(f"layer {path!r}: has no filters; expected one of {', '.join(found)}.")
    kernel = np.asarray(computed_kernel(found[path]), np.float32)
    if "Depthwise" in type(inner(found[path])).__name__:
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)  # a filter of one channel each
    if "Transpose" in type(inner(found[path])).__name__:
        kernel = kernel.swapaxes(2, 3)  # Keras keeps (height, width, filters, channels)
    return kernel.transpose(3, 0, 1, 2)


def activations(model: Model, inputs: np.ndarray, layer: str | None = None) -> np.ndarray:
    """Returns what a layer gives for each picture, e.g. maps (n, h, w, channels).

    Args:
        model: A classifier.
        inputs: What it reads, (n, height, width, channels).
        layer: Path of the layer; `None`: the last map, see `last_map`.

    Raises:
        ValueError: There is no such layer.
    """
    seen = Classifier.of(model)
    path = seen.last_map() if layer is None else seen.find_layer(layer)
    return seen.features(inputs, path)


def features(model: Model, inputs: np.ndarray, layer: str | None = None) -> np.ndarray:
    """Returns one vector for each picture, (n, units): what a layer gives; of maps, their means.

    Args:
        model: A classifier.
        inputs: What it reads.
        layer: Path of the layer; `None`: the last map.

    Raises:
        ValueError: There is no such layer.
    """
    found = activations(model, inputs, layer)
    if found.ndim > 2:
        found = found.mean(axis=tuple(range(1, found.ndim - 1)))
    return found.astype(np.float32)


def maximal_patches(
    model: Model, inputs: np.ndarray, layer: str | None = None, *, unit: int, count: int = 9
) -> Patches:
    """Returns the patches of some pictures that a unit answers to most strongly.

    Args:
        model: A classifier.
        inputs: What it reads, (n, height, width, channels).
        layer: Path of a layer that gives maps; `None`: the last map.
        unit: Which channel of it.
        count: Patches at most.

    Raises:
        ValueError: There is no such layer or unit, or its receptive field is not known.
    """
    seen = Classifier.of(model)
    path = seen.last_map() if layer is None else seen.find_layer(layer, maps=True)
    num = check_unit(seen, path, unit)
    maps = seen.features(inputs, path)[..., unit % num]  # (n, h, w)
    field, width = receptive_field(seen, path), maps.shape[2]
    places = maps.reshape(len(maps), -1).argmax(axis=1)
    values = maps.reshape(len(maps), -1).max(axis=1)
    order = np.argsort(-values, kind="stable")[:count]
    boxes = [field.box(*divmod(int(places[index]), width)) for index in order]
    return Patches(values[order], order, np.array(boxes).reshape(-1, 4))


def check_unit(seen: Classifier, layer: str, unit: int) -> int:
    """Returns how many units a layer has.

    Raises:
        ValueError: There is no such unit.
    """
    num = int(seen.shape(layer)[-1] or 0)
    if not 0 <= unit < num:
        raise ValueError(f"unit {unit}: layer {layer!r} has {num}; expected 0 to {num - 1}.")
    return num


def hidden_units(answers: np.ndarray) -> Units:
    """Returns how the units of a layer answer: how sparsely, how alike, which not at all.

    Sparsity is (1 - mean(|a|)^2 / mean(a^2)) / (1 - 1 / n), over the examples or over the units.

    Args:
        answers: (examples, units), see `features`; at least two of each.

    Raises:
        ValueError: There are fewer, or one is no number.
    """
    answers = np.asarray(answers, np.float64)
    if answers.ndim != 2 or min(answers.shape) < 2 or not np.isfinite(answers).all():
        raise ValueError(
            f"hidden_units: got {answers.shape}; expected finite answers (examples, units), two of "
            "each at least."
        )
    deviation = answers.std(axis=0)
    dead = deviation <= DEAD
    standard = (answers - answers.mean(axis=0)) / np.where(dead, 1, deviation)
    correlation = standard.T @ standard / len(answers)
    correlation[dead] = correlation[:, dead] = 0
    pairs = np.argwhere(np.triu(correlation >= ALIKE, k=1))
    return Units(
        mean=answers.mean(axis=0),
        deviation=deviation,
        active=(answers > DEAD).mean(axis=0),
        selective=_sparsity(answers, axis=0),
        sparse=float(_sparsity(answers, axis=1).mean()),
        correlation=correlation,
        dead=np.flatnonzero(dead).tolist(),
        duplicates=[(int(one), int(other)) for one, other in pairs],
    )


def _sparsity(answers: np.ndarray, *, axis: int) -> np.ndarray:
    num = answers.shape[axis]
    square = (answers**2).mean(axis=axis)
    share = np.abs(answers).mean(axis=axis) ** 2 / np.where(square > 0, square, 1)
    found: np.ndarray = np.where(square > 0, (1 - share) / (1 - 1 / num), 0.0)
    return found
