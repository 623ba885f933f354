"""Holding what compression has made of the weights while they are trained further.

What there is to hold is read off the weights, so it holds across passes, pipelines and bundles:

    zeros      a kernel with zeros among its weights keeps them (a trained weight is never just 0)
    sharing    a kernel of few distinct values keeps them shared; the values themselves learn
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from compress.graph.graph import leaf_layers
from compress.graph.kernels import clone_layer, find_kernels, inner, kernels_in
from compress.graph.rebuild import replace_layers
from compress.graph.ties import tied_paths
from compress.layers.masked import UNDONE, MaskConstraint, Masked, TiedZeros, outside
from compress.layers.parametrized import Parametrization, Parametrized
from compress.layers.shared import Shared

LOG = logging.getLogger("compress")
FEW = 2  # weights for each distinct value, on average, from which on a kernel counts as shared
LOOK = 4096  # weights looked at before all are sorted


def hold(model: keras.Model, *, computed: bool = True) -> keras.Model:
    """Returns a model of equal graph and weights that keeps zeros and sharing in training.

    Its kernels that have either are `Parametrized`; `bake` gives the layers as they were again.
    Where a kernel is computed already, e.g. rounded, its zeros are kept.

    Args:
        model: Functional or Sequential; stays as it is.
        computed: Whether that is done; else such a kernel is left to what computes it, and where
            there is nothing to hold beside, the model itself is given back.
    """
    found = dict(leaf_layers(model))
    kernels, _ = find_kernels(found, depthwise=True)
    ties = tied_paths(found)
    chains: dict[str, list[Parametrization]] = {}
    masked = {}
    for path, kernel in kernels.items():
        layer = found[kernel.path]
        within = isinstance(layer, Parametrized) and kernel.name in layer.of
        if within and not computed:
            continue
        array = keras.ops.convert_to_numpy(kernel.variable)
        chain = structure(array)
        chain = [part for part in chain if isinstance(part, Masked) or not within]
        if kernel.path in ties and all(isinstance(part, Masked) for part in chain):
            masked[path] = array != 0  # another layer reads the stored kernel
        elif chain:
            chains[path] = chain
    if not (computed or chains or masked):
        return model
    return _masked(parametrize(model, chains), masked)


def _masked(model: keras.Model, masks: Mapping[str, np.ndarray]) -> keras.Model:
    """A model whose tied kernels keep their zeros, while a Keras optimizer trains, and in `bake`.

    Args:
        model: Stays as it is.
        masks: Where a kernel is kept, by path.
    """
    if not masks:
        return model
    model = let_go(model, {})  # of what an earlier pass has prepared
    zeros = TiedZeros({path: mask.shape for path, mask in masks.items()})
    held = replace_layers(model, {}, behind={model.inputs[0]._keras_history.operation: zeros})
    kernels, _ = find_kernels(dict(leaf_layers(held)), depthwise=True)
    for path, mask in masks.items():
        kernel = kernels[path].variable
        zeros.masks[path].assign(mask)
        kernel.constraint = MaskConstraint(kernel, zeros.masks[path])
    return held


def parametrize(model: keras.Model, chains: Mapping[str, Sequence[Parametrization]]) -> keras.Model:
    """Returns a model that computes some of its kernels.

    Args:
        model: Stays as it is.
        chains: What is applied to a kernel, by its path, see `find_kernels`, before what is applied
            already; `read` is called with it first.
    """
    found = dict(leaf_layers(model))
    kernels, _ = find_kernels(found, depthwise=True)
    wanted: dict[str, dict[str, Sequence[Parametrization]]] = {}
    for path, chain in chains.items():
        kernel = kernels[path]
        wanted.setdefault(kernel.path, {})[kernel.name] = chain
    parametrized = {}
    for path, of in wanted.items():
        old, within = found[path], clone_layer(inner(found[path]))
        parts = [(part, name) for name, chain in of.items() for part in chain]
        if isinstance(old, Parametrized):
            parts += [(clone_layer(part), name) for part, name in old.pairs()]
            for name in old.of:
                kernels_in(within)[name][1].trainable = old.learns(name)
        layer = Parametrized(within, [part for part, _ in parts], [name for _, name in parts])
        layer.build()
        for name, chain in of.items():
            for part in chain:
                part.read(keras.ops.convert_to_numpy(layer.stored(name)))
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
    return let_go(model, baked)


def let_go(model: keras.Model, plain: Mapping[str, keras.layers.Layer]) -> keras.Model:
    """Returns a model with other layers, whose tied kernels have the zeros that `hold` found.

    Args:
        model: Stays as it is.
        plain: What takes the place of its layers, by path.
    """
    held = {p: layer for p, layer in leaf_layers(model) if isinstance(layer, TiedZeros)}
    new = replace_layers(model, {**plain, **dict.fromkeys(held)})
    kernels, _ = find_kernels(dict(leaf_layers(new)), depthwise=True)
    for zeros in held.values():
        for path, mask in zeros.masks.items():
            kernel = kernels[path].variable
            lost = outside(kernel, mask)
            kernel.assign(keras.ops.where(mask, kernel, 0))
            if lost > UNDONE:
                LOG.warning(
                    "layer %r: its zeros, which other layers read too, were trained to %.1f %% of "
                    "the kernel, by squares, and are set again. A Keras optimizer keeps them in "
                    "the process that prepared the model; what else trains it is to set them.",
                    path,
                    100 * lost,
                )
    return new


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
