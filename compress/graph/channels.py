"""Which channels of a graph hang together: what must be removed at once, so that the rest fits.

Source: the dependency graph of Fang et al. 2023, DepGraph, arXiv:2301.12900. Every channel of every
tensor has a number. Each step of the graph passes the numbers of its inputs on, ties them (a sum),
joins them (a concatenation), or makes new ones (a convolution); numbers that are tied are one
class. A class is removed as a whole: the filters that make it, the weights that read it.

Channels of inputs and outputs stay, and so do those that meet a step with no rule here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from compress.graph import units
from compress.graph.anew import made_anew
from compress.graph.graph import Call, leaf_layers, trace
from compress.graph.rebuild import replace_layers
from compress.graph.ties import tied_paths

MAKERS = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)

# By name: `keras.ops` has operations of the same name as layers, and they count as these.
_TIES = {"Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average"}
_JOINS = {"Concatenate"}
_PASSES = {
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Relu", "Relu6", "Sigmoid", "Silu", "HardSilu"),
    *("HardSigmoid", "Tanh", "Gelu", "Swish", "HardSwish", "LeakyRelu", "Elu", "Identity"),
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"),
    *("GaussianNoise", "StochasticDepth", "ActivityRegularization", "Rescaling", "ReplicaDropout"),
    *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D"),
    *("AveragePooling3D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"),
    *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "ZeroPadding1D", "ZeroPadding2D", "Cropping1D"),
    *("Cropping2D", "UpSampling1D", "UpSampling2D", "CeilMaxPooling2D", "RepeatVector"),
}


class Channels:
    """The classes of channels of a model.

    Args:
        model: Functional or Sequential.

    Attributes:
        ends: For each leaf layer with a rule, by path, the channel numbers (into it, out of it).
        members: For each class that may be removed, its makers: (path, channel of its output).
        heads: Paths of attentions; their channels are heads, which nothing outside sees.
    """

    def __init__(self, model: keras.Model) -> None:
        self._parents: list[int] = []
        self._frozen: set[int] = set()
        self._numbers: dict[int, np.ndarray] = {}
        self.ends: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.makers: dict[str, layers.Layer] = {}
        self.heads: set[str] = set()
        graph = trace(model)
        self._tied_weights = tied_paths(dict(leaf_layers(model)))
        for tensor in graph.inputs:
            self._numbers[id(tensor)] = self._freeze(self._new(tensor.shape[-1]))
        for call in graph.calls:
            self._visit(call)
        for tensor in graph.outputs:
            self._freeze(self._numbers[id(tensor)])
        self._frozen = {self.find(number) for number in self._frozen}
        self.members: dict[int, list[tuple[str, int]]] = {}
        for path in self.makers:
            for channel, number in enumerate(self.ends[path][1]):
                if (found := self.find(number)) not in self._frozen:
                    self.members.setdefault(found, []).append((path, channel))

    def find(self, number: int) -> int:
        """Returns the class of a channel."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def groups(self) -> list[list[int]]:
        """Returns the classes, those with the same makers together."""
        found: dict[tuple[str, ...], list[int]] = {}
        for number, members in self.members.items():
            found.setdefault(tuple(sorted({path for path, _ in members})), []).append(number)
        return list(found.values())

    def kept(self, path: str, drop: set[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the places of the channels that stay: into a layer, and out of it."""
        into, out = (
            np.array([i for i, number in enumerate(end) if self.find(number) not in drop], int)
            for end in self.ends[path]
        )
        return into, out

    def _new(self, count: int | None) -> np.ndarray:
        numbers = np.arange(len(self._parents), len(self._parents) + (count or 1))
        self._parents += numbers.tolist()
        return numbers

    def _tie(self, first: np.ndarray, second: np.ndarray) -> None:
        for a, b in zip(first, second, strict=True):
            self._parents[self.find(a)] = self.find(b)

    def _freeze(self, numbers: np.ndarray) -> np.ndarray:
        self._frozen |= set(numbers.tolist())
        return numbers

    def _visit(self, call: Call) -> None:
        inputs = [self._numbers[id(tensor)] for tensor in call.inputs]
        out = self._rule(call, inputs) if len(call.outputs) == 1 else None
        free = call.path and call.path not in self._tied_weights
        if free and call.path not in self.ends and units.is_attention(call.operation):
            self.ends[call.path] = np.zeros(0, int), self._new(units.num_units(call.operation))
            self.makers[call.path] = call.operation
            self.heads.add(call.path)
        if out is None:  # no rule: what touches it stays
            for numbers in inputs:
                self._freeze(numbers)
            for tensor in call.outputs:
                width = tensor.shape[-1] if tensor.shape else 1
                self._numbers[id(tensor)] = self._freeze(self._new(width))
            return
        self._numbers[id(call.outputs[0])] = out
        if not call.path or not inputs:
            return
        if call.path in self.ends:  # shared: all its calls see the same channels
            for old, new in zip(self.ends[call.path], (inputs[0], out), strict=True):
                self._tie(old, new)
        elif len(inputs) == 1:
            self.ends[call.path] = inputs[0], out

    def _rule(self, call: Call, inputs: list[np.ndarray]) -> np.ndarray | None:
        """The channel numbers of the output; None where there is no rule."""
        layer, name = call.operation, type(call.operation).__name__
        shape = call.outputs[0].shape
        if getattr(layer, "data_format", None) == "channels_first" or not shape:
            return None
        if call.path in self._tied_weights:  # another layer reads its weights
            return None
        if isinstance(layer, (*MAKERS, *_DEPTHWISE)):
            return self._made(call.path, layer, inputs[0], shape[-1])
        if len(inputs) == 1 and units.is_recurrent(layer):
            return self._made(call.path, layer, inputs[0], shape[-1])
        if _each(layer) is not None and isinstance(_each(layer), MAKERS):
            return self._made(call.path, layer, inputs[0], shape[-1])
        if isinstance(layer, layers.BatchNormalization):
            return inputs[0] if layer.axis in (-1, len(shape) - 1) else None
        if isinstance(layer, layers.PReLU):
            whole = all(size == 1 for size in layer.alpha.shape[:-1])
            return inputs[0] if whole and layer.alpha.shape[-1] == len(inputs[0]) else None
        if isinstance(layer, layers.Flatten):
            return np.tile(inputs[0], shape[-1] // len(inputs[0]))
        if isinstance(layer, layers.Reshape):
            return self._laid_out(inputs[0], call.inputs[0].shape, shape)
        if name in _JOINS:
            axis = getattr(layer, "axis", None)
            return np.concatenate(inputs) if axis in (-1, len(shape) - 1) else None
        if name in _TIES:
            return self._tied(call, inputs, shape[-1])
        if name in _PASSES and len(inputs) == 1 and shape[-1] == len(inputs[0]):
            return None if any(np.size(x) > 1 for x in _constants(call)) else inputs[0]
        return None

    def _laid_out(self, numbers: np.ndarray, given: Any, shape: Any) -> np.ndarray | None:
        """Of a vector that becomes maps: units that become places of one map are one class."""
        if int(np.prod(given[1:])) != len(numbers) or not shape[-1] or len(numbers) % shape[-1]:
            return None
        rows = np.reshape(numbers, (-1, shape[-1]))  # a row for each place
        for row in rows[1:]:
            self._tie(row, rows[0])
        return rows[0]

    def _made(self, path: str, layer: Any, into: np.ndarray, count: int) -> np.ndarray | None:
        if not units.is_recurrent(layer) and _is_adapted(layer):
            return None
        if isinstance(layer, _DEPTHWISE):
            return np.repeat(into, layer.depth_multiplier)
        if isinstance(layer, _SEPARABLE) and layer.depth_multiplier != 1:
            return None
        out = self._new(count) if path not in self.ends else self.ends[path][1]
        self.makers[path] = layer
        if isinstance(layer, layers.Bidirectional) and layer.merge_mode == "concat":
            self._tie(*np.split(out, 2))  # Keras takes both directions for equally wide
        groups = getattr(layer, "groups", 1)
        for numbers in (into, out) if groups > 1 else ():  # all groups stay equally wide
            first, *others = np.split(numbers, groups)
            for other in others:
                self._tie(first, other)
        return out

    def _tied(self, call: Call, inputs: list[np.ndarray], count: int) -> np.ndarray | None:
        if any(np.size(x) > 1 for x in _constants(call)):
            return None
        whole = [numbers for numbers in inputs if len(numbers) == count]
        for numbers in inputs:
            if len(numbers) != count:
                self._freeze(numbers)  # one channel beside many
        for other in whole[1:]:
            self._tie(other, whole[0])
        return whole[0]


def output_axis(layer: layers.Layer) -> int:
    """Returns the axis of a kernel that counts the filters."""
    return -2 if isinstance(layer, _TRANSPOSED) else -1


def shrink(model: keras.Model, channels: Channels, drop: set[int]) -> keras.Model:
    """Returns the model without some classes of channels.

    Args:
        model: Stays as it is.
        channels: The model's channels.
        drop: Classes, none of which takes the last channel of a layer.
    """
    replacements = {}
    for path, layer in leaf_layers(model):
        if path not in channels.ends:
            continue
        into, out = channels.kept(path, drop)
        old = channels.ends[path]
        if len(into) == len(old[0]) and len(out) == len(old[1]):
            continue
        if narrowed := _narrowed(layer, into, out, old):
            replacements[path] = narrowed
    return replace_layers(model, replacements)


def cut(layer: layers.Layer, into: np.ndarray, out: np.ndarray) -> Callable[[Any], np.ndarray]:
    """Returns a function from a weight of a layer to its part for some channels.

    Args:
        layer: With a rule in `Channels`.
        into: Places of the channels into it that stay.
        out: Places of those out of it.
    """

    def part(weight: keras.Variable) -> np.ndarray:
        array = keras.ops.convert_to_numpy(weight)
        if array.ndim == 1 or isinstance(layer, layers.PReLU):
            return array[..., out]
        if isinstance(layer, _DEPTHWISE) or weight.name == "depthwise_kernel":
            return np.take(array, into, -2)
        if isinstance(layer, _TRANSPOSED):
            return np.take(np.take(array, out, -2), into, -1)
        groups = getattr(layer, "groups", 1)
        if groups > 1:  # each group sees the same places, counted within it
            into_group = into[into < array.shape[-2]]
            return np.take(np.take(array, into_group, -2), out, -1)
        return np.take(np.take(array, into, -2), out, -1)

    return part


def _narrowed(
    layer: layers.Layer, into: np.ndarray, out: np.ndarray, old: tuple[np.ndarray, np.ndarray]
) -> layers.Layer | None:
    """The layer with fewer channels, built; None where its graph alone makes it narrower."""
    config = layer.get_config()
    if units.is_recurrent(layer) or units.is_attention(layer):
        return units.narrowed(layer, into, out)
    if isinstance(layer, layers.Reshape):
        return made_anew(layer, target_shape=(*config["target_shape"][:-1], len(out)))
    if not layer.weights:
        return None
    widths: dict[str, Any] = {key: len(out) for key in ("filters", "units") if key in config}
    if (inner := _each(layer)) is not None:
        part = {**config["layer"], "config": {**inner.get_config(), _width(inner): len(out)}}
        part.pop("build_config", None)
        widths = {"layer": part}
    twin = made_anew(layer, **widths)
    twin.build((*layer.get_build_config()["input_shape"][:-1], len(into)))
    part_of = cut(inner or layer, into, out)
    for source, target in zip(layer.weights, twin.weights, strict=True):
        target.assign(part_of(source))
        target.trainable = source.trainable
    return twin


def _each(layer: Any) -> Any:
    """What a layer applies to each place of a sequence; `None` where it does not."""
    return layer.layer if type(layer) is layers.TimeDistributed else None


def _width(layer: Any) -> str:
    return "filters" if hasattr(layer, "filters") else "units"


def _constants(call: Call) -> list[Any]:
    """Arguments that are neither symbolic nor settings."""
    return [x for x in call.arguments if isinstance(x, np.ndarray) or keras.ops.is_tensor(x)]


def _is_adapted(layer: Any) -> bool:
    names = [weight.name for weight in layer.weights]
    known = {"kernel", "depthwise_kernel", "pointwise_kernel", "bias"}
    return not set(names) <= known
