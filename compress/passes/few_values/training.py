"""What binary and ternary networks share: which layers, how they are trained, what stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import keras
import numpy as np
from keras import layers

from compress.base import Context, Note, Rewrite
from compress.graph import Call, copy_model, leaf_layers, replace_layers, trace
from compress.graph.holding import bake, hold, parametrize
from compress.graph.kernels import find_kernels, kernel_of
from compress.layers.binary import BinaryActivation
from compress.layers.parametrized import Parametrization

Make: TypeAlias = Callable[[layers.Layer], Parametrization]
_THROUGH = ("MaxPooling", "Flatten", "Reshape", "Dropout", "SpatialDropout", "ZeroPadding")


def with_few_values(
    model: keras.Model,
    chosen: Mapping[str, layers.Layer],
    make: Make,
    *,
    ends: bool,
    activations: bool = False,
) -> tuple[keras.Model, list[str], dict[str, Note]]:
    """Returns a copy of a model with kernels of few values that learn, their paths, and notes.

    Args:
        model: Stays as it is.
        chosen: The leaf layers to work on, by path.
        make: Returns the function from weights to values for a layer.
        ends: Whether the first and the last kernel of the model are among them.
        activations: Whether ReLUs between the layers become signs.
    """
    leaves = dict(leaf_layers(model))
    kernels, reasons = find_kernels(leaves, chosen, several=False)
    notes = {path: Note(False, reason) for path, reason in reasons.items()}
    everything = list(find_kernels(leaves, several=False)[0])
    for path in () if ends else (everything[0], everything[-1]):
        if path in kernels:
            del kernels[path]
            notes[path] = Note(False, "the first and the last kernel are spared; see `ends`")
    for path, kernel in list(kernels.items()):
        values = np.unique(np.abs(keras.ops.convert_to_numpy(kernel.variable)))
        if values[values > 0].size <= 1:
            del kernels[path]
            notes[path] = Note(False, "has as few values already")
    small = copy_model(model)
    if activations:
        relus = between(small, set(kernels))
        found = dict(leaf_layers(small))
        signs = {
            path: BinaryActivation(name=name, activity_regularizer=found[path].activity_regularizer)
            for path, name in relus.items()
        }
        small = replace_layers(small, signs)
        notes |= {path: Note(True, "its ReLU is a sign now") for path in relus}
    found = dict(leaf_layers(small))
    trained = parametrize(small, {path: [make(found[path])] for path in kernels})
    return hold(trained, computed=False), list(kernels), notes


def rewrite(
    model: keras.Model,
    chosen: Mapping[str, layers.Layer],
    context: Context,
    make: Make,
    *,
    ends: bool,
    epochs: int,
    activations: bool = False,
) -> Rewrite:
    """Trains a copy of a model through kernels of few values, and stores these.

    Args:
        model: Stays as it is.
        chosen: The leaf layers to work on, by path.
        context: Context of the pass.
        make: See `with_few_values`.
        ends: See `with_few_values`.
        epochs: Epochs of training.
        activations: See `with_few_values`.
    """
    trained, kernels, notes = with_few_values(
        model, chosen, make, ends=ends, activations=activations
    )
    text = context.train(trained, epochs=epochs)
    small = bake(trained)
    found = dict(leaf_layers(small))
    for path in kernels:
        kernel = keras.ops.convert_to_numpy(kernel_of(found[path]))
        notes[path] = Note(True, _told(kernel))
    return Rewrite(small, notes, text)


def between(model: keras.Model, paths: set[str]) -> dict[str, str]:
    """Returns the layers that are a ReLU which only some layers read: name by path.

    Args:
        model: Functional or Sequential.
        paths: Paths of the layers that may read it, through pooling, flattening or dropout.
    """
    graph = trace(model)
    readers: dict[int, list[Call]] = {}
    for call in graph.calls:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    outputs = {id(tensor) for tensor in graph.outputs}

    def only(tensor: keras.KerasTensor) -> bool:
        calls = readers.get(id(tensor), [])
        return (
            bool(calls)
            and id(tensor) not in outputs
            and all(
                call.path in paths
                or (
                    type(call.operation).__name__.startswith(_THROUGH)
                    and all(map(only, call.outputs))
                )
                for call in calls
            )
        )

    found = [call for call in graph.calls if call.path and _is_relu(call.operation)]
    return {call.path: call.operation.name for call in found if all(map(only, call.outputs))}


def _is_relu(layer: layers.Layer) -> bool:
    if isinstance(layer, layers.ReLU):
        return not layer.negative_slope
    return isinstance(layer, layers.Activation) and layer.activation.__name__ in ("relu", "relu6")


def _told(kernel: np.ndarray) -> str:
    zeros = kernel.size - np.count_nonzero(kernel)
    values = np.unique(kernel[kernel != 0])
    return f"{values.size:,} values beside {zeros:,} zeros for {kernel.size:,} weights"
