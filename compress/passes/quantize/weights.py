"""Kernels of integers, with floats between them: of every kind of layer, without examples.

Each column of a kernel's matrix is a grid of its own, symmetric about 0, as integer kernels have
it; of a table of words, and of a transposed convolution, the whole kernel is. What comes out are
the layers that went in, whose kernels lie on the grids: `export` to `tflite-dynamic` and the packed
file store the integers.
"""

from __future__ import annotations

from collections.abc import Collection

import keras
import numpy as np

from compress.base import Note
from compress.graph import copy_model, leaf_layers
from compress.graph.holding import bake, parametrize, structure
from compress.graph.kernels import Kernel, find_kernels
from compress.graph.ties import tied_paths
from compress.layers.parametrized import Parametrized
from compress.layers.quantized import KernelRange
from compress.passes.quantize.integers import best_share

_PER = {1: "filter", 2: "depthwise"}  # by how many of the last axes count what comes out


def on_grids(
    model: keras.Model, chosen: Collection[str], bits: int
) -> tuple[keras.Model, dict[str, Note]]:
    """Returns a model whose kernels are rounded in each call, and a note for each layer.

    Zeros and shared values are kept while it is trained. A kernel that a layer reads which does not
    have it, e.g. a tied decoder, is rounded where it is stored.

    Args:
        model: Stays as it is.
        chosen: Paths of the layers.
        bits: 4 or 8.
    """
    found = dict(leaf_layers(model))
    kernels, reasons = find_kernels(found, chosen, depthwise=True)
    notes = {path: Note(False, f"stays in floats: {text}") for path, text in reasons.items()}
    ties, chains, stored = tied_paths(found), {}, {}
    for path, kernel in kernels.items():
        array = keras.ops.convert_to_numpy(kernel.variable).astype("float32")
        if isinstance(found[kernel.path], Parametrized):
            notes[path] = Note(False, "stays as it is: it is computed")
            continue
        grid = KernelRange(bits, per=per(kernel))
        left = _left(found[kernel.path], [one.variable for one in kernels.values()])
        notes[path] = Note(True, f"kernel of {bits} bits{left}")
        if kernel.path in ties:
            stored[path] = (grid, array)
        else:
            chains[path] = [*structure(array), grid]
    new = parametrize(model, chains) if chains else copy_model(model)
    inside, _ = find_kernels(dict(leaf_layers(new)), depthwise=True)
    for path, (grid, array) in stored.items():
        grid.build(array.shape)
        _narrow(grid, array)
        inside[path].variable.assign(grid.on_grid(array)[0])
    for path, chain in chains.items():
        _narrow(chain[-1], keras.ops.convert_to_numpy(inside[path].variable))
    return new, notes


def settled(model: keras.Model) -> keras.Model:
    """Returns the model as it was made, with the kernels that it computes."""
    exact: dict[str, np.ndarray] = {}
    kernels, _ = find_kernels(dict(leaf_layers(model)), depthwise=True)
    layers = dict(leaf_layers(model))
    for path, kernel in kernels.items():
        layer = layers[kernel.path]
        if isinstance(layer, Parametrized) and kernel.name in layer.of:
            *before, grid = [part for part, name in layer.pairs() if name == kernel.name]
            values = keras.ops.convert_to_tensor(kernel.variable)
            for part in before:
                values = part(values)
            exact[path] = grid.on_grid(keras.ops.convert_to_numpy(values))[0]
    plain = bake(model)
    kernels, _ = find_kernels(dict(leaf_layers(plain)), depthwise=True)
    for path, array in exact.items():
        kernels[path].variable.assign(array)  # integers times a scale, to the last bit
    return plain


def per(kernel: Kernel) -> str:
    """Returns what has a grid of its own in a kernel; see `KernelRange`."""
    if isinstance(kernel.owner, keras.layers.DepthwiseConv2D | keras.layers.DepthwiseConv1D):
        return "depthwise"
    if isinstance(kernel.owner, keras.layers.Embedding):
        return "tensor"
    rank, inputs = len(kernel.variable.shape), kernel.input_axes
    if inputs != tuple(range(len(inputs))):  # what comes out is not counted by the last axes
        return "tensor"
    return _PER.get(rank - len(inputs), "tensor")


def _left(layer: keras.layers.Layer, kernels: Collection[keras.Variable]) -> str:
    """What else of a layer is a matrix, and stays in floats."""
    known = {id(kernel) for kernel in kernels}
    rest = [w for w in layer.weights if len(w.shape) > 1 and id(w) not in known]
    names = dict.fromkeys(w.name for w in rest if "bias" not in w.name)
    return f", {' and '.join(names)} in floats" if names else ""


def _narrow(grid: KernelRange, kernel: np.ndarray) -> None:
    if grid.bits < 8:
        grid.share.assign(best_share(grid, kernel))
