"""Weights on a grid: whole multiples of one step, which the packed file codes as integers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from compress.graph.kernels import inner
from compress.measure.weights import short, step_of

_NORMS = (layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization)
_VECTORS = ("bias", "beta", "gamma", "moving_mean", "moving_variance")


def on_grid(values: np.ndarray, step: float, *, threshold: float = 0.5) -> np.ndarray:
    """Returns values at the nearest multiples of a step, float32.

    Args:
        values: Of any shape.
        step: Such as `short` gives.
        threshold: Share of the step from which on a value is not 0; 0.5 rounds.
    """
    places = values.astype(np.float64) / step
    whole = np.where(abs(places) < threshold, 0, np.maximum(np.rint(abs(places)), 1))
    found: np.ndarray = (np.sign(places) * whole * step).astype(np.float32)
    return found + np.float32(0)  # no zero has a sign


def vectors(layer: layers.Layer) -> list[keras.Variable]:
    """Returns the bias of a layer with a kernel, or the vectors of a normalisation."""
    layer = inner(layer)
    if not (hasattr(layer, "kernel") or isinstance(layer, _NORMS)):
        return []
    return [
        weight
        for weight in layer.weights
        if weight.name in _VECTORS and len(weight.shape) == 1 and weight.dtype == "float32"
    ]


def rounded(values: np.ndarray, name: str, bits: int) -> np.ndarray:
    """Returns a vector of so many bits: a grid as wide as the largest of its values.

    One that is on such a grid stays. A variance, by whose root is divided, has as many bits
    whatever its size.

    Args:
        values: (n,), float32.
        name: Of the weight.
        bits: Width, the sign included.
    """
    if name == "moving_variance":
        mantissa, exponent = np.frexp(values)
        found: np.ndarray = np.ldexp(np.rint(mantissa * 2 ** (bits - 2)), exponent - (bits - 2))
        return found.astype(np.float32)
    largest, most = float(abs(values).max(initial=0)), 2 ** (bits - 1) - 1
    own = step_of(values)
    step = short(largest / most)
    if not step or (own and largest / own <= most):
        return values
    return on_grid(values, step)
