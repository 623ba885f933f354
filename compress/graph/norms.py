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

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from compress.graph.graph import leaf_layers

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


def moments(tensors: Iterable[Any], axis: int) -> Moments:
    """Returns the moments of what a batch normalisation is given.

    Args:
        tensors: Some examples at a time.
        axis: Of the channels.
    """
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for tensor in tensors:
        values = ops.cast(tensor, "float32")
        axes = [at for at in range(len(values.shape)) if at != axis % len(values.shape)]
        mean, variance = (
            np.asarray(ops.convert_to_numpy(x), np.float64) for x in ops.moments(values, axes)
        )
        rows = int(np.prod([values.shape[at] for at in axes]))
        count, total = count + rows, total + rows * mean
        squares = squares + rows * (variance + mean**2)
    mean = total / count
    return Moments(mean, np.maximum(squares / count - mean**2, 0))


def moved(
    before: layers.BatchNormalization,
    after: layers.BatchNormalization,
    seen: Moments,
    own: Moments,
) -> Moments | None:
    """Returns statistics that have moved by as much as what they describe; `None`: it has not.

    Args:
        before: The normalisation of the network before.
        after: That of the changed one, of the same channels or some of them.
        seen: Moments of what the first is given.
        own: Of what the second is given.
    """
    places = _places(before, after)
    if places is None:
        return own
    old, seen = _stored(before).of(places), seen.of(places)
    if _alike(own, seen):
        return None
    varies = seen.variance > SMALL
    ratio = own.variance / np.where(varies, seen.variance, 1)
    variance = np.where(varies, old.variance * ratio, own.variance)
    return Moments(old.mean + own.mean - seen.mean, variance)


def _alike(one: Moments, other: Moments) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)


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
