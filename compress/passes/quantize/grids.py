"""Where a graph of integers rounds, by the rules of LiteRT: which tensors have a range.

    a convolution or dense layer   one range behind it, or behind the ReLU that alone reads it
    a sum, a product, a mean       likewise
    another activation             a range before and behind it
    a concatenation                one range behind it for all that it joins
    a mean over a window           the range of what it reads, once more
    pooling, padding, reshaping    none: the integers stay what they are
    softmax, sigmoid, tanh         a range that the kernel fixes
    an input                       a range, where it is of floats
    a layer with `needs_float32`   none between two of them, nor at the end; it computes in floats
    what a quotient, a power, a    none: LiteRT computes these in floats, and a small number that is
    root or a logarithm reads      rounded to 0 would make NaN of them

Before that, what has no integer form of its own is written in one that has: separable convolutions
as two, batch normalisations folded (`compress.graph.folding`) or as 1x1 depthwise convolutions,
activations out of the layers that have them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from compress.graph import Call, Trace, folding, leaf_layers, replace_layers, trace
from compress.graph.kernels import clone_layer, is_own, kernel_of
from compress.layers.quantized import FIXED, Floats, Range
from compress.passes.quantize import entries

KERNELS = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
)
_BY_FILTER = (layers.Conv2D, layers.Conv3D)
FLOAT_IN_FILES = (layers.Conv3D, layers.Conv3DTranspose)  # of rounded kernels; LiteRT has no others
_EIGHT = (layers.Conv3D, layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_SEPARABLE = {
    layers.SeparableConv1D: (layers.DepthwiseConv1D, layers.Conv1D),
    layers.SeparableConv2D: (layers.DepthwiseConv2D, layers.Conv2D),
}
_FUSED = ("linear", "relu", "relu6")
_NOTHING = (
    *(
        "Dropout",
        "SpatialDropout",
        "Gaussian",
        "AlphaDropout",
        "Identity",
        "ActivityRegularization",
    ),
    "ReplicaDropout",
)
_SAME_GRID = (
    *("MaxPooling", "AveragePooling", "GlobalMaxPooling", "Flatten", "Reshape", "ZeroPadding"),
    *("Cropping", "UpSampling", "Permute", "RepeatVector", *_NOTHING),
)
_NORMS = ("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization")
_FRAGILE = ("Divide", "TrueDivide", "Power", "Log", "Log1p", "Sqrt", "Rsqrt", "Reciprocal")
_NARROW = ("Concatenate", "UpSampling")  # not of int16
_MEANS = ("AveragePooling", "UpSampling")  # of integers, rounded


def made_ready(model: keras.Model, *, bare: Collection[int] = ()) -> keras.Model:
    """Returns a model of equal answers in the layers that have integer forms.

    Args:
        model: Functional or Sequential; stays as it is.
        bare: Places of inputs without a range: what stands right behind them stays as it is.
    """
    model = _folded(_without_separable(model))
    kept = entries.found(trace(model), bare).operations
    return _without_activations(_without_norms(model, kept))


def per(layer: layers.Layer) -> str:
    """Returns what has a range of its own in a layer's kernel; see `KernelRange`."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return "depthwise"
    # With a grid for each filter of another kernel the converter fails.
    return "filter" if isinstance(layer, _BY_FILTER) else "tensor"


class Grid(NamedTuple):
    """A range behind an operation.

    Attributes:
        owner: The operation whose range it is: the same one, or one further up.
        ends: Where the integer kernel fixes them.
    """

    owner: Any
    ends: tuple[float, float] | None = None


def fitting(layer: layers.Layer, bits: int) -> int:
    """Returns the bits that a layer's kernel can have: LiteRT's transposed ones want 8."""
    return 8 if isinstance(layer, _EIGHT) else bits


def ranged(
    model: keras.Model, *, activation_bits: int = 8, bare: Collection[int] = ()
) -> dict[Any, Grid]:
    """Returns the operations behind which there is a range, inputs among them.

    Args:
        model: As `prepared` returns it.
        activation_bits: Width of what flows.
        bare: Places of inputs without a range.
    """
    graph = trace(model)
    readers = _readers(graph)
    entry = entries.found(graph, bare)
    ends = {id(tensor) for tensor in graph.outputs}
    chosen: dict[Any, Grid] = {}
    owners: dict[int, Any] = {}  # by tensor: the operation whose range it has
    for place, (old, tensor) in enumerate(zip(model.inputs, graph.inputs, strict=True)):
        if place in bare:
            continue
        if "float" in tensor.dtype and not _has_range(tensor, readers):
            owner = owners[id(tensor)] = old._keras_history.operation
            chosen[owner] = Grid(owner)

    def follower(call: Call) -> Call | None:
        """The only reader that does anything."""
        alone = readers.get(id(call.outputs[0]), [])
        if len(alone) != 1 or id(call.outputs[0]) in ends:
            return None
        return follower(alone[0]) if _does_nothing(alone[0]) else alone[0]

    for call in graph.calls:
        tensor = call.outputs[0] if len(call.outputs) == 1 else None
        if tensor is None or "float" not in tensor.dtype or _has_range(tensor, readers):
            continue
        if isinstance(call.operation, (Range, Floats)):
            continue
        if _exact(call) and all(_exact(reader) for reader in readers.get(id(tensor), [])):
            continue  # boxes stay boxes, between layers and at the end
        if any(_fragile(reader) for reader in readers.get(id(tensor), [])):
            continue
        inside = id(call.operation) in entry.operations
        if inside and id(tensor) not in entry.borders - entry.raw:
            continue
        if inside or not on_the_same_grid(call):
            reader = follower(call)
            alone = reader is not None and _joins(reader) and activation_bits == 16
            if alone or not _waits(call, reader):
                chosen[call.operation] = Grid(call.operation, FIXED.get(_activation(call)))
                owners[id(tensor)] = call.operation
        elif call.inputs and (owner := owners.get(id(call.inputs[0]))):
            owners[id(tensor)] = owner
            if type(call.operation).__name__.startswith(_MEANS):
                chosen[call.operation] = Grid(owner, chosen[owner].ends)
    return chosen


def _has_range(tensor: keras.KerasTensor, readers: dict[int, list[Call]]) -> bool:
    """Whether a range stands there already."""
    return any(isinstance(call.operation, Range) for call in readers.get(id(tensor), []))


def in_floats(model: keras.Model, *, activation_bits: int, bare: Collection[int] = ()) -> list[str]:
    """Returns the paths of layers that a file would compute, in part, on other grids.

    They want floats, see `Floats`: a normalisation of each example begins with a mean, a layer of
    the user's own may with anything, one that needs float32 works with places in a picture, and
    concatenations, and activations but ReLU, have no form of 16 bits.

    Args:
        model: As `prepared` returns it.
        activation_bits: Width of what flows.
        bare: Places of inputs without a range: what stands right behind them reads floats anyway.
    """
    graph = trace(model)
    entry = entries.found(graph, bare).operations
    ready = {
        id(x) for call in graph.calls for x in call.outputs if isinstance(call.operation, Floats)
    }
    chosen: dict[str, None] = {}
    for call in graph.calls:
        if not call.path or not call.inputs or id(call.inputs[0]) in ready:
            continue
        if id(call.operation) in entry:
            continue
        exact = _exact(call)
        alone = len(call.inputs) == 1 or _joins(call)
        if not exact and (not alone or any("float" not in x.dtype for x in call.inputs)):
            continue
        normal = type(call.operation).__name__.endswith(_NORMS)
        wide = activation_bits == 16 and (
            type(call.operation).__name__.startswith(_NARROW)
            or _activation(call) not in ("", *_FUSED)
        )
        if exact or is_own(call.operation) or normal or wide:
            chosen[call.path] = None
    return list(chosen)


def behind_floats(layer: Any, *, activation_bits: int, name: str) -> list[layers.Layer]:
    """Returns what stands right behind a layer of `in_floats`, before its range.

    Args:
        layer: The layer.
        activation_bits: Width of what flows.
        name: Name of the new layer.
    """
    if activation_bits == 8:
        return []
    if type(layer).__name__.startswith(_NARROW):
        return [Floats(name=name)]
    # What the integer kernel fixes the converter fixes in floats too, with 8 bits.
    ends = FIXED.get(_name(layer))
    return [] if ends is None else [Range(8, ends=ends, name=name)]


def is_silu(layer: Any) -> bool:
    """Whether a layer is the activation `x sigmoid(x)`."""
    return getattr(layer, "activation", None) is keras.activations.silu


def _readers(graph: Trace) -> dict[int, list[Call]]:
    readers: dict[int, list[Call]] = {}
    for call in graph.calls:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    return readers


def on_the_same_grid(call: Call) -> bool:
    """Whether a step gives integers of the grid that it reads."""
    return type(call.operation).__name__.startswith(_SAME_GRID) or _activation(call) == "linear"


def _does_nothing(call: Call) -> bool:
    """Whether a step returns what it gets, at inference."""
    name = type(call.operation).__name__
    return name.startswith(_NOTHING) or _activation(call) == "linear"


def _exact(call: Call) -> bool:
    """Whether a step works with places in a picture: whole pixels would be lost in integers."""
    return bool(getattr(call.operation, "needs_float32", False))


def _fragile(call: Call) -> bool:
    """Whether a step of `keras.ops` makes infinite or no numbers of a 0 where none should be."""
    name = type(call.operation).__name__
    if call.path or name not in _FRAGILE:
        return False
    return len(call.inputs) == 2 or "Divide" not in name  # or a constant divides


def _waits(call: Call, follower: Call | None) -> bool:
    """Whether the range stands behind the only reader, not here."""
    if follower is None:
        return False
    if _joins(follower):
        return True
    return _activation(follower) in ("relu", "relu6") and not _activation(call)


def _joins(call: Call) -> bool:
    return type(call.operation).__name__ == "Concatenate"


def _activation(call: Call) -> str:
    """The name of a step that is an activation and nothing else; empty for another step."""
    return _name(call.operation)


def _name(layer: Any) -> str:
    """See `_activation`."""
    if isinstance(layer, layers.ReLU):
        plain = not layer.negative_slope and not layer.threshold
        return {None: "relu", 6.0: "relu6"}.get(layer.max_value, "other") if plain else "other"
    if isinstance(layer, layers.Activation):
        return str(getattr(layer.activation, "__name__", "other"))
    name = type(layer).__name__.lower()
    return name if name in ("relu", "relu6", *FIXED) else ""


def _rewritten(
    model: keras.Model, make: Callable[[str, Any], list[layers.Layer] | layers.Layer | None]
) -> keras.Model:
    made = {path: make(path, layer) for path, layer in leaf_layers(model)}
    found: dict[Any, Any] = {path: new for path, new in made.items() if new is not None}
    return replace_layers(model, found) if found else model


def _without_separable(model: keras.Model) -> keras.Model:
    def make(_: str, layer: Any) -> list[layers.Layer] | None:
        kinds = next((k for kind, k in _SEPARABLE.items() if type(layer) is kind), None)
        if kinds is None:
            return None
        shared = {
            "dtype": layer.dtype_policy,
            "data_format": layer.data_format,
            "trainable": layer.trainable,
        }
        first = kinds[0](
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            depth_multiplier=layer.depth_multiplier,
            dilation_rate=layer.dilation_rate,
            use_bias=False,
            depthwise_regularizer=layer.depthwise_regularizer,
            name=f"{layer.name}_depthwise",
            **shared,
        )
        second = kinds[1](
            layer.filters,
            1,
            use_bias=layer.use_bias,
            activation=layer.activation,
            kernel_regularizer=layer.pointwise_regularizer,
            bias_regularizer=layer.bias_regularizer,
            activity_regularizer=layer.activity_regularizer,
            name=layer.name,
            **shared,
        )
        shape = layer.get_build_config()["input_shape"]
        first.build(shape)
        second.build((*shape[:-1], shape[-1] * layer.depth_multiplier))
        first.kernel.assign(layer.depthwise_kernel)
        second.kernel.assign(layer.pointwise_kernel)
        first.kernel.trainable = layer.depthwise_kernel.trainable
        second.kernel.trainable = layer.pointwise_kernel.trainable
        if layer.use_bias:
            second.bias.assign(layer.bias)
            second.bias.trainable = layer.bias.trainable
        return [first, second]

    return _rewritten(model, make)


def _folded(model: keras.Model) -> keras.Model:
    found = dict(leaf_layers(model))
    replacements: dict[Any, Any] = {}
    for path, (before, _) in folding.pairs(model).items():
        if before:
            replacements[before] = folding.folded(found[before], found[path])
            replacements[path] = folding.rest(found[path])
    return replace_layers(model, replacements)


def _without_norms(model: keras.Model, kept: Collection[int] = ()) -> keras.Model:
    """Writes the normalisations of maps that are left as 1x1 depthwise convolutions.

    Args:
        model: Stays as it is.
        kept: Ids of layers that stay.
    """

    def make(_: str, layer: Any) -> layers.Layer | None:
        if not isinstance(layer, layers.BatchNormalization) or id(layer) in kept:
            return None
        shape = layer.get_build_config()["input_shape"]
        if len(shape) != 4 or layer.axis not in (-1, 3):
            return None
        name, policy = layer.name, layer.dtype_policy
        one = layers.DepthwiseConv2D(
            1,
            use_bias=False,
            name=name,
            dtype=policy,
            trainable=layer.trainable,
            activity_regularizer=layer.activity_regularizer,
        )
        one.build(shape)
        one.kernel.assign(np.ones(one.kernel.shape))
        return folding.folded(one, layer)

    return _rewritten(model, make)


def _without_activations(model: keras.Model) -> keras.Model:
    """Takes activations that no integer kernel has out of the layers."""

    def make(_: str, layer: Any) -> list[layers.Layer] | None:
        if not isinstance(layer, KERNELS) or layer.activation.__name__ in _FUSED:
            return None
        settings = {"activation": "linear", "activity_regularizer": None}
        linear = clone_layer(layer, name=f"{layer.name}_linear", **settings)
        activation = layers.Activation(
            layer.activation,
            name=layer.name,
            dtype=layer.dtype_policy,
            activity_regularizer=layer.activity_regularizer,
        )
        return [linear, activation]

    return _rewritten(model, make)


def is_kernel(layer: Any) -> bool:
    """Whether a layer has an integer form: a plain one with a kernel."""
    return isinstance(layer, KERNELS) and isinstance(kernel_of(layer), keras.Variable)
