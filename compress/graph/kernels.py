"""Kernels: the weights that compression works on, found by the class of what has them.

A layer may be made of others: an LSTM of its cell, attention of four projections, a wrapper of what
it wraps, a layer of one's own of whatever it holds. Their kernels are found where they stand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell  # it has no public name

from compress.graph.anew import made_anew
from zoo.common.reading import one_line

_KERNELS: dict[type, tuple[str, ...]] = {
    layers.Dense: ("kernel",),
    layers.EinsumDense: ("kernel",),
    layers.Embedding: ("embeddings",),
    layers.Conv1D: ("kernel",),
    layers.Conv2D: ("kernel",),
    layers.Conv3D: ("kernel",),
    layers.Conv1DTranspose: ("kernel",),
    layers.Conv2DTranspose: ("kernel",),
    layers.Conv3DTranspose: ("kernel",),
    layers.SeparableConv1D: ("pointwise_kernel",),
    layers.SeparableConv2D: ("pointwise_kernel",),
    layers.DepthwiseConv1D: ("kernel",),
    layers.DepthwiseConv2D: ("kernel",),
    layers.SimpleRNNCell: ("kernel", "recurrent_kernel"),
    layers.LSTMCell: ("kernel", "recurrent_kernel"),
    layers.GRUCell: ("kernel", "recurrent_kernel"),
    ConvLSTMCell: ("kernel", "recurrent_kernel"),
}
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


class Kernel(NamedTuple):
    """A matrix of weights that a layer of a model multiplies by, or looks up in.

    Attributes:
        path: Path of the leaf layer.
        name: Where within that layer it stands: `kernel`, `cell.recurrent_kernel`,
            `forward_layer.cell.kernel`, `_query_dense.kernel`.
        owner: The layer, or the part of it, that has the kernel.
        variable: The stored kernel.
    """

    path: str
    name: str
    owner: layers.Layer
    variable: keras.Variable

    @property
    def input_axes(self) -> tuple[int, ...]:
        """Axes that a product sums over: of a convolution the taps and then the channels."""
        rank = len(self.variable.shape)
        if isinstance(self.owner, layers.EinsumDense):
            terms = self.owner.equation.replace(" ", "").replace("...", "")
            _, kernel, output = re.split(",|->", terms)
            return tuple(axis for axis, letter in enumerate(kernel) if letter not in output)
        outputs = rank - 2 if isinstance(self.owner, _TRANSPOSED) else rank - 1
        return tuple(axis for axis in range(rank) if axis != outputs)

    @property
    def sides(self) -> tuple[int, int]:
        """Numbers of inputs and of outputs: the shape of its matrix."""
        shape = self.variable.shape
        inputs = math.prod(shape[axis] for axis in self.input_axes)
        return inputs, math.prod(shape) // inputs

    def matrix(self, values: Any) -> np.ndarray:
        """Lays out an array of the kernel's shape as (inputs, outputs), the last input fastest."""
        return np.transpose(np.asarray(values), self._order()).reshape(self.sides)

    def from_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """The inverse of `matrix`."""
        order = self._order()
        shape = [self.variable.shape[axis] for axis in order]
        return np.transpose(matrix.reshape(shape), np.argsort(order))

    def _order(self) -> tuple[int, ...]:
        rest = set(range(len(self.variable.shape))) - set(self.input_axes)
        return (*self.input_axes, *sorted(rest))


def register_kernels(kind: type[layers.Layer], *names: str) -> None:
    """Says which weights of a layer class are kernels: what every pass works on.

    A class of one's own may say it itself, by an attribute `kernel_names = ("kernel", ...)`.

    Args:
        kind: The class; its subclasses are meant too.
        *names: Attributes of a built layer that are its kernels, variables whose last axis counts
            what it makes.

    Raises:
        TypeError: `kind` is no class of layers.
        ValueError: No name is given.
    """
    if not (isinstance(kind, type) and issubclass(kind, layers.Layer)):
        raise TypeError(
            f"register_kernels: got {kind!r}; expected a subclass of keras.layers.Layer."
        )
    if not names:
        raise ValueError(f"register_kernels: {kind.__name__}: got no names of its kernels.")
    _KERNELS[kind] = names


def inner(layer: layers.Layer) -> layers.Layer:
    """Returns the layer within a `compress.layers.Parametrized`; any other as it is."""
    found: layers.Layer = getattr(layer, "within", layer)
    return found


def kernels_in(layer: layers.Layer) -> dict[str, tuple[layers.Layer, keras.Variable]]:
    """Returns the kernels of a layer, and of the layers that it is made of, by name.

    Args:
        layer: Built.
    """
    found: dict[str, tuple[layers.Layer, keras.Variable]] = {}
    _walk(layer, "", found, set())
    return found


def kernel_of(layer: layers.Layer) -> keras.Variable:
    """Returns the stored kernel of a dense layer or convolution; of a separable one, the pointwise.

    That of an embedding is its table.

    Raises:
        KeyError: The layer has none of its own, or several.
    """
    (name,) = _names(layer) or [""]
    if not name:
        raise KeyError(f"{type(layer).__name__} {layer.name!r} has no kernel")
    kernel: keras.Variable = getattr(layer, name)
    return kernel


def computed_kernel(layer: layers.Layer) -> Any:
    """Returns the kernel that a layer computes with, a variable or a tensor; `None` without one.

    That of a `compress.layers.Parametrized` is made of the stored one.
    """
    kernel = getattr(layer, "kernel", None)
    return kernel() if callable(kernel) else kernel


def find_kernels(
    found: Mapping[str, layers.Layer],
    chosen: Iterable[str] | None = None,
    *,
    depthwise: bool = False,
    several: bool = True,
) -> tuple[dict[str, Kernel], dict[str, str]]:
    """Sorts layers, given by path, into kernels to work on and reasons why there is none.

    A kernel of a leaf layer that another one holds is the former's alone.

    Args:
        found: All leaf layers of a model by path; a `Parametrized` counts as the layer within it.
        chosen: Paths of those to look at; `None` for all.
        depthwise: Whether the kernels of depthwise convolutions are among those to work on.
        several: Whether the kernels are that stand in the parts of a layer: of recurrent layers,
            of attention, of a wrapper, of a layer that is made of others.

    Returns:
        Kernels by path: that of the layer where it has one of its own, else `PATH/NAME`; and the
        reasons by the path of the layer.
    """
    kernels: dict[str, Kernel] = {}
    reasons: dict[str, str] = {}
    leaves = {id(inner(layer)) for layer in found.values()}
    for path in found if chosen is None else chosen:
        layer = inner(found[path])
        inside = {
            name: (owner, kernel)
            for name, (owner, kernel) in (kernels_in(layer) if layer.weights else {}).items()
            if owner is layer or id(owner) not in leaves
        }
        of_parts = list(inside) != list(_names(layer)[:1])
        unfit = {name: _unfit(*one, depthwise=depthwise) for name, one in inside.items()}
        wanted = {name: Kernel(path, name, *one) for name, one in inside.items() if not unfit[name]}
        if not layer.weights:
            reasons[path] = "has no weights"
        elif not inside or (of_parts and not several):
            reasons[path] = _no_kernel(layer)
        elif not wanted:
            reasons[path] = next(iter(unfit.values()))
        elif of_parts:
            kernels |= {f"{path}/{name}": kernel for name, kernel in wanted.items()}
        else:
            kernels[path] = next(iter(wanted.values()))
    return kernels, reasons


def is_own(layer: Any) -> bool:
    """Returns whether a layer, or an operation, is of the user's own classes."""
    return type(layer).__module__.split(".")[0] not in ("keras", "compress")


def clone_layer(layer: layers.Layer, **changes: Any) -> layers.Layer:
    """Returns a layer of equal class, settings and weights, built, that shares no variable.

    Args:
        layer: Built.
        **changes: New settings, of those that no weight depends on.

    Raises:
        ValueError: It cannot be built apart from other layers.
    """
    twin = made_anew(layer, **changes)
    try:
        twin.build_from_config(layer.get_build_config())
        if [v.shape for v in twin.variables] != [v.shape for v in layer.variables]:
            twin = _called(layer, made_anew(layer, **changes))
    except Exception as error:  # of the user's own code
        raise ValueError(
            f"layer {layer.name!r} ({type(layer).__name__}) cannot be copied on its own: "
            f"{one_line(error)}; leave it out: skip: [{layer.name}]."
        ) from None
    for old, new in zip(layer.variables, twin.variables, strict=True):
        new.assign(old)
        if old.trainable != new.trainable:
            new.trainable = old.trainable
    return twin


def _called(layer: layers.Layer, twin: layers.Layer) -> layers.Layer:
    """Returns the twin of a layer, built by a call like the layer's: it has no `build` of its own.

    Raises:
        ValueError: The layer was never called, or its twin has other weights.
    """
    node = next(iter(layer._inbound_nodes), None)
    if node is None:
        raise ValueError("it builds its weights when it is called, and it never was")

    def fresh(x: Any) -> Any:
        is_tensor = isinstance(x, keras.KerasTensor)
        return keras.KerasTensor(x.shape, x.dtype, name=x.name) if is_tensor else x

    args, kwargs = keras.tree.map_structure(fresh, (node.arguments.args, node.arguments.kwargs))
    twin(*args, **kwargs)
    if [v.shape for v in twin.variables] != [v.shape for v in layer.variables]:
        raise ValueError("its weights are others when it is made anew")
    return twin


def _names(layer: layers.Layer) -> tuple[str, ...]:
    """The attributes of a layer that are kernels."""
    own: tuple[str, ...] = getattr(layer, "kernel_names", ())  # of a layer that says so
    if own:
        return own
    if isinstance(layer, layers.ReversibleEmbedding) and not layer.tie_weights:
        return "embeddings", "reverse_embeddings"
    kinds = (names for kind, names in reversed(_KERNELS.items()) if isinstance(layer, kind))
    return next(kinds, ())


def _walk(layer: layers.Layer, prefix: str, found: dict[str, Any], seen: set[int]) -> None:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    for name in _names(layer):
        kernel = getattr(layer, name, None)
        if kernel is not None:
            found[prefix + name] = layer, kernel
    for attribute, value in vars(layer).items():
        if attribute.startswith("_inbound") or attribute in ("_layers", "_metrics"):
            continue
        if isinstance(value, layers.Layer):
            _walk(value, f"{prefix}{attribute}.", found, seen)
        elif isinstance(value, (list, tuple)):
            for place, part in enumerate(value):
                if isinstance(part, layers.Layer):
                    _walk(part, f"{prefix}{attribute}.{place}.", found, seen)


def _no_kernel(layer: layers.Layer) -> str:
    kind = type(layer).__name__
    if is_own(layer):
        return f"{kind} does not say which weights are kernels: see compress.register_kernels"
    return f"{kind} is neither a dense layer nor a convolution"


def _unfit(owner: layers.Layer, kernel: Any, *, depthwise: bool) -> str:
    """Why a kernel is not one to work on; empty where it is."""
    if isinstance(owner, _DEPTHWISE) and not depthwise:
        return "depthwise: its few weights are all that each channel has"
    if isinstance(owner, layers.Embedding) and not owner.trainable_weights:
        return "its table does not learn"
    if not (isinstance(kernel, keras.Variable) and "float" in kernel.dtype):
        return "its kernel is quantised or adapted"
    return ""
