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

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from compress.graph.graph import is_graph, leaf_layers, replay

SMALL = 1e-12


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


def moments(
    model: keras.Model,
    samples: Any,
    settle: Callable[[str, Moments], Moments | None] = lambda path, found: None,
) -> dict[str, Moments]:
    """Returns the moments of what each batch normalisation is given.

    Args:
        model: Functional or Sequential.
        samples: As the model takes them, (n, ...) for each input.
        settle: Is told of each in the order of the graph, and may return what the normalisation is
            to keep from then on; those behind it see what it then makes.
    """
    paths = {id(layer): path for path, layer in norms_in(model).items()}
    found: dict[str, Moments] = {}

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if is_graph(operation):
            return replay(operation, args[0], call)
        path = paths.get(id(operation))
        if path is not None and path not in found:  # a shared one: as it is called first
            found[path] = own = _moments(args[0], operation.axis)
            if (kept := settle(path, own)) is not None:
                operation.moving_mean.assign(kept.mean)
                operation.moving_variance.assign(kept.variance)
        return operation(*args, **kwargs)

    replay(model, samples, call)
    return found


def restate(model: keras.Model, before: keras.Model, samples: Any) -> int:
    """Moves the statistics of a changed model, in place, by as much as what they describe moved.

    Args:
        model: Functional or Sequential.
        before: What it was made of.
        samples: As both take them, (n, ...) for each input.

    Returns:
        The number of batch normalisations whose statistics have changed.
    """
    then, now = norms_in(before), norms_in(model)
    shown = moments(before, samples)
    changed = 0

    def settle(path: str, own: Moments) -> Moments | None:
        nonlocal changed
        places = _places(then[path], now[path]) if path in shown else None
        if places is None:
            changed += 1
            return own
        old, seen = _stored(then[path]).of(places), shown[path].of(places)
        if np.allclose(own.mean, seen.mean, atol=1e-6) and np.allclose(own.variance, seen.variance):
            return None
        changed += 1
        varies = seen.variance > SMALL
        ratio = own.variance / np.where(varies, seen.variance, 1)
        return Moments(
            old.mean + own.mean - seen.mean, np.where(varies, old.variance * ratio, own.variance)
        )

    moments(model, samples, settle)
    return changed


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
