"""Holding what compression has made of the weights while they are trained further.

What there is to hold is read off the weights, so it holds across passes, pipelines and bundles:

    zeros      a kernel with zeros among its weights keeps them (a trained weight is never just 0)
    sharing    a kernel of few distinct values keeps them shared; the values themselves learn
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from compress.graph.graph import leaf_layers
from compress.graph.kernels import clone_layer, find_kernels, inner, kernel_of
from compress.graph.rebuild import replace_layers
from compress.graph.ties import tied_paths
from compress.layers.masked import Masked
from compress.layers.parametrized import Parametrization, Parametrized
from compress.layers.shared import Shared

FEW = 2  # weights for each distinct value, on average, from which on a kernel counts as shared
LOOK = 4096  # weights looked at before all are sorted


def hold(model: keras.Model) -> keras.Model:
    """Returns a model of equal graph and weights that keeps zeros and sharing in training.

    Its kernels that have either are `Parametrized`; `bake` gives the layers as they were again.
    Where a kernel is computed already, e.g. rounded, its zeros are kept.

    Args:
        model: Functional or Sequential; stays as it is.
    """
    found = dict(leaf_layers(model))
    kernels, _ = find_kernels(found, depthwise=True)
    ties = tied_paths(found)
    chains: dict[str, list[Parametrization]] = {}
    masked = {}
    for path, kernel in kernels.items():
        computed = isinstance(found[path], Parametrized)
        array = keras.ops.convert_to_numpy(kernel)
        chain = structure(array)
        chain = [part for part in chain if isinstance(part, Masked) or not computed]
        if path in ties and all(isinstance(part, Masked) for part in chain):
            masked[path] = array != 0  # another layer reads the stored kernel
        elif chain:
            chains[path] = chain
    held = parametrize(model, chains)
    new = dict(leaf_layers(held))
    for path, mask in masked.items():
        kernel = kernel_of(inner(new[path]))
        kernel.constraint = _Kept(mask, kernel.constraint)
    return held


def tied_zeros(model: keras.Model) -> list[tuple[keras.Variable, np.ndarray]]:
    """Returns the kernels with zeros that several layers read, and their masks.

    No layer computes these while they are trained: their zeros are set again afterwards.
    """
    found = dict(leaf_layers(model))
    ties = tied_paths(found)
    kernels, _ = find_kernels({path: found[path] for path in ties}, depthwise=True)
    pairs = [(kernel, keras.ops.convert_to_numpy(kernel) != 0) for kernel in kernels.values()]
    return [(kernel, mask.astype(kernel.dtype)) for kernel, mask in pairs if not mask.all()]


class _Kept:
    """A constraint that keeps zeros, after the one that was there."""

    def __init__(self, mask: np.ndarray, before: Any) -> None:
        self._mask, self._before = mask, before

    def __call__(self, kernel: Any) -> Any:
        kernel = kernel if self._before is None else self._before(kernel)
        return kernel * keras.ops.cast(self._mask, kernel.dtype)


def parametrize(model: keras.Model, chains: Mapping[str, Sequence[Parametrization]]) -> keras.Model:
    """Returns a model that computes some of its kernels.

    Args:
        model: Stays as it is.
        chains: What is applied to the kernel of a layer, by path, before what is applied already;
            `read` is called with it first.
    """
    found, parametrized = dict(leaf_layers(model)), {}
    for path, chain in chains.items():
        old = found[path]
        rest = [clone_layer(part) for part in old.chain] if isinstance(old, Parametrized) else []
        within = clone_layer(inner(old))
        if isinstance(old, Parametrized):
            kernel_of(within).trainable = old.learns
        layer = Parametrized(within, [*chain, *rest])
        layer.build()
        for part in chain:
            part.read(keras.ops.convert_to_numpy(kernel_of(layer.layer)))
        parametrized[path] = layer
    return replace_layers(model, parametrized)


def bake(model: keras.Model, *, like: keras.Model | None = None) -> keras.Model:
    """Returns a model whose parametrized kernels are stored as they are computed.

    Args:
        model: Stays as it is.
        like: A model of equal graph whose chains stay, e.g. the one that was held.
    """
    found = dict(leaf_layers(like)) if like else {}
    baked = {}
    for path, layer in leaf_layers(model):
        if isinstance(layer, Parametrized):
            old = found.get(path)
            kept = len(old.chain) if isinstance(old, Parametrized) else 0
            if len(layer.chain) > kept:
                baked[path] = layer.plain(keep=kept)
    return replace_layers(model, baked)


def structure(kernel: np.ndarray) -> list[Parametrization]:
    """Returns the chain that keeps what a kernel has; empty where it has nothing.

    Args:
        kernel: Weights, of any shape.
    """
    chain: list[Parametrization] = []
    kept = kernel != 0
    if not kept.any():
        return chain
    values = kernel[kept]
    if _are_few(values):
        chain.append(Shared(np.unique(kernel).size))
    if not kept.all():
        chain.append(Masked())
    return chain


def shares(kernel: keras.Variable) -> bool:
    """Returns whether the weights of a kernel share values."""
    chain = structure(keras.ops.convert_to_numpy(kernel))
    return any(isinstance(part, Shared) for part in chain)


def _are_few(values: np.ndarray) -> bool:
    """Whether weights share their values."""
    if values.size < FEW:
        return False
    step = max(1, values.size // LOOK)
    sample = values[::step]
    # Of weights that are all different a sample has none twice.
    if sample.size >= LOOK and np.unique(sample).size == sample.size:
        return False
    return bool(np.unique(values).size * FEW <= values.size)
