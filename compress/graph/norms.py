"""Statistics of batch normalisations, measured again after the kernels before them have changed.

A normalisation keeps the mean and the variance of what it was trained on. Weights that are rounded
or taken out move both, layer after layer, and much of what a network then loses it loses to that.
Examples suffice, without labels.

Source: Li et al. 2020, arXiv:2007.02491, section 3 (adaptive batch normalisation). Differs: there
the statistics become those of the examples; here what the examples show of a variance is divided by
what they show in the network before, and of a mean the difference is taken. Where nothing has moved
nothing changes, however few the examples are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from compress.graph.graph import infer, is_graph, leaf_layers, replay

SMALL = 1e-12
Visit = Callable[[str, Any, Any], None]


class Moments(NamedTuple):
    """Mean and variance of each channel, (channels,), float64."""

    mean: np.ndarray
    variance: np.ndarray

    def of(self, places: np.ndarray) -> Moments:
        """Returns those of some of the channels."""
        return Moments(self.mean[places], self.variance[places])


def norms_in(model: keras.Model) -> dict[str, layers.BatchNormalization]:
    """Returns the batch normalisations of a model by path."""
    found = dict(leaf_layers(model))
    return {p: x for p, x in found.items() if isinstance(x, layers.BatchNormalization)}


def walk(model: keras.Model, samples: Any, visit: Visit) -> None:
    """Runs a model as it infers, and tells of each leaf layer before its first call.

    Args:
        model: Functional or Sequential.
        samples: As the model takes them, (n, ...) for each input.
        visit: Is given the path, the layer and the first of what it is called with, in the order of
            the graph. It may change the layer: what is behind sees what it then makes.
    """
    paths = {id(layer): path for path, layer in leaf_layers(model)}
    seen: set[str] = set()

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if is_graph(operation):
            return replay(operation, args[0], call)
        path = paths.get(id(operation), "")
        if path and path not in seen:
            seen.add(path)
            visit(path, operation, args[0] if args else None)
        return infer(operation, *args, **kwargs)

    replay(model, samples, call)


def moments(model: keras.Model, samples: Any) -> dict[str, Moments]:
    """Returns the moments of what each batch normalisation is given.

    Args:
        model: Functional or Sequential.
        samples: As the model takes them, (n, ...) for each input.
    """
    found: dict[str, Moments] = {}

    def visit(path: str, layer: Any, tensor: Any) -> None:
        if isinstance(layer, layers.BatchNormalization):
            found[path] = _moments(tensor, layer.axis)

    walk(model, samples, visit)
    return found


def restate(
    model: keras.Model,
    before: keras.Model,
    shown: Mapping[str, Moments],
    samples: Any,
    *,
    also: Visit | None = None,
) -> int:
    """Moves the statistics of a changed model, in place, by as much as what they describe moved.

    Args:
        model: Functional or Sequential.
        before: What it was made of.
        shown: The `moments` of that on the samples.
        samples: As both take them, (n, ...) for each input.
        also: What else is changed on the way, see `walk`.

    Returns:
        The number of batch normalisations whose statistics have changed.
    """
    then, now = norms_in(before), norms_in(model)
    changed = 0

    def visit(path: str, layer: Any, tensor: Any) -> None:
        nonlocal changed
        if also is not None:
            also(path, layer, tensor)
        if path not in now:
            return
        own = _moments(tensor, layer.axis)
        places = _places(then[path], layer) if path in shown else None
        if places is not None:
            old, seen = _stored(then[path]).of(places), shown[path].of(places)
            if _alike(own, seen):
                return
            varies = seen.variance > SMALL
            ratio = own.variance / np.where(varies, seen.variance, 1)
            variance = np.where(varies, old.variance * ratio, own.variance)
            own = Moments(old.mean + own.mean - seen.mean, variance)
        changed += 1
        layer.moving_mean.assign(own.mean)
        layer.moving_variance.assign(own.variance)

    walk(model, samples, visit)
    return changed


def _alike(one: Moments, other: Moments) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)


def _moments(tensor: Any, axis: int) -> Moments:
    values = ops.cast(tensor, "float32")
    axes = [at for at in range(len(values.shape)) if at != axis % len(values.shape)]
    mean, variance = ops.moments(values, axes)
    return Moments(*(np.asarray(ops.convert_to_numpy(x), np.float64) for x in (mean, variance)))


def _stored(layer: layers.BatchNormalization) -> Moments:
    pair = layer.moving_mean, layer.moving_variance
    return Moments(*(np.asarray(ops.convert_to_numpy(x), np.float64) for x in pair))


def _places(
    before: layers.BatchNormalization, after: layers.BatchNormalization
) -> np.ndarray | None:
    """The channels of a normalisation that another has kept; `None` where that does not show."""
    old, new = (
        np.stack([ops.convert_to_numpy(x) for x in one.weights], 1) for one in (before, after)
    )
    if old.shape == new.shape:
        return np.arange(len(old))
    place = {row.tobytes(): at for at, row in enumerate(old)}
    found = [place.get(row.tobytes(), -1) for row in new]
    return None if -1 in found else np.array(found)
