"""Kernels that are rounded while they learn, and what is stored of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from compress.base import Context
from compress.graph import leaf_layers
from compress.graph.holding import bake, hold, parametrize
from compress.graph.kernels import find_kernels
from compress.graph.ties import sharing, tied_paths
from compress.layers.latent import Latent
from compress.layers.masked import Masked
from compress.layers.parametrized import Parametrization, Parametrized
from compress.measure.coder import encoded, matrix_shape
from compress.measure.packed import pack
from compress.measure.weights import short
from compress.passes.entropy.multiplier import Multiplier, coded
from compress.passes.entropy.rounding import on_grid, rounded, vectors

TRIES = 12  # of a bisection
ENDS = 3  # of a limit: its first is a guess of what the header will take
_WIDEST = 1.0  # what is below so many steps may become 0, so that a size is met


def learning(
    model: keras.Model, chosen: Mapping[str, layers.Layer], first: float
) -> tuple[keras.Model, dict[str, str]]:
    """Returns a model whose kernels are rounded in each call, and why others are not.

    Args:
        model: Stays as it is.
        chosen: The leaf layers to work on, by path.
        first: First step, in root mean squares.
    """
    everything = dict(leaf_layers(model))
    kernels, reasons = find_kernels(everything, chosen, depthwise=True)
    ties = tied_paths(everything)
    chains: dict[str, list[Parametrization]] = {}
    for path, kernel in kernels.items():
        if isinstance(chosen[kernel.path], Parametrized):
            reasons[kernel.path] = "its kernel is computed already"
        elif kernel.path in ties:
            others = ", ".join(sharing(everything, kernel.path))
            reasons[kernel.path] = f"shares weights with {others}, which read them as they are"
        else:
            zeros = (ops.convert_to_numpy(kernel.variable) == 0).any()
            chains[path] = [*([Masked()] if zeros else []), Latent(first)]
    return hold(parametrize(model, chains), computed=False), reasons


def target(
    learner: keras.Model,
    chosen: Mapping[str, layers.Layer],
    vector_bits: int | None,
    max_bytes: int | None,
) -> int | None:
    """Returns what the code of the kernels may take, of all that the packed file may.

    Args:
        learner: From `learning`.
        chosen: The leaf layers to work on, by path.
        vector_bits: Width of the vectors.
        max_bytes: Of the packed file; `None` for no limit.
    """
    if max_bytes is None or not (found := coded(learner)):
        return None
    empty = bake(learner)
    _store(empty, {path: np.zeros_like(one.values()) for path, one in found.items()})
    _round_vectors(empty, chosen, vector_bits)
    return max(1, max_bytes - _packed_bytes(empty))


def train(
    learner: keras.Model, multiplier: Multiplier, context: Context, *, epochs: int
) -> tuple[str, float | None]:
    """Trains a model in place; returns a line that says so, and what a bit cost in the end."""
    if context.fit is None or epochs == 0:
        return context.train(learner, epochs=epochs), None
    for one in coded(learner).values():  # for a `fit` that calls no callback
        one.latent.rate.assign(multiplier.rate)
    text = context.train(learner, epochs=epochs, callbacks=[multiplier])
    if not multiplier.driven:
        text += ", from the first step on at full cost (`fit` did not call its callback)"
    return text, multiplier.rate


def settled(
    learner: keras.Model,
    model: keras.Model,
    chosen: Mapping[str, layers.Layer],
    vector_bits: int | None,
    max_bytes: int | None,
    most: int | None,
) -> tuple[keras.Model, dict[str, str]]:
    """Returns a model with the integers, times their steps, stored; and a line for each layer.

    Args:
        learner: From `learning`, trained.
        model: What it was made of.
        chosen: The leaf layers to work on, by path.
        vector_bits: Width of the vectors.
        max_bytes: Of the packed file; `None` for no limit.
        most: Of the kernels' code in it: what is nearest to 0 becomes 0 until that is met.
    """
    found = coded(learner)
    kernels = {path: one.values() for path, one in found.items()}
    steps = {path: short(one.step()) for path, one in found.items()}
    small = bake(learner, like=model)
    told = _round_vectors(small, chosen, vector_bits)
    for _ in range(ENDS):
        stored, codes = _stored(kernels, steps, most)
        _store(small, stored)
        if max_bytes is None or most is None or (size := _packed_bytes(small)) <= max_bytes:
            break
        most -= size - max_bytes  # what the header says of a kernel
    return small, told | {
        path: f"{np.count_nonzero(kernel):,} of {kernel.size:,} weights are not 0, in steps of "
        f"{steps[path]:.3g}: {codes[path]:,} bytes"
        for path, kernel in stored.items()
    }


def _stored(
    kernels: Mapping[str, np.ndarray], steps: Mapping[str, float], most: int | None
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """The kernels on their grids, and the bytes of each; small ones become 0 where they must."""
    low, high = 0.5, _WIDEST

    def at(threshold: float) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        found = {p: on_grid(k, steps[p], threshold=threshold) for p, k in kernels.items()}
        return found, {p: _num_bytes(kernel, steps[p]) for p, kernel in found.items()}

    best = at(low)
    if most is None or sum(best[1].values()) <= most:
        return best
    for _ in range(TRIES):
        middle = (low + high) / 2
        tried = at(middle)
        if sum(tried[1].values()) <= most:
            high, best = middle, tried
        else:
            low = middle
    return best


def _store(model: keras.Model, stored: Mapping[str, np.ndarray]) -> None:
    kernels, _ = find_kernels(dict(leaf_layers(model)), depthwise=True)
    for path, values in stored.items():
        kernels[path].variable.assign(values)


def _packed_bytes(model: keras.Model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return pack(model, Path(folder) / "model")


def _num_bytes(kernel: np.ndarray, step: float) -> int:
    places = np.rint(kernel.astype(float) / step).astype(np.int64)
    return len(encoded(places.reshape(matrix_shape(kernel.shape))))


def _round_vectors(
    model: keras.Model, chosen: Mapping[str, layers.Layer], bits: int | None
) -> dict[str, str]:
    """Rounds them in place; returns a line for each layer where that changes something."""
    told: dict[str, str] = {}
    if bits is None:
        return told
    for path, layer in leaf_layers(model):
        for weight in vectors(layer) if path in chosen else ():
            old = ops.convert_to_numpy(weight)
            weight.assign(rounded(old, weight.name, bits))
            if not np.array_equal(old, ops.convert_to_numpy(weight)):
                told[path] = f"vectors rounded to {bits} bits"
    return told
