"""Which batch normalisations can be folded, and the layers that take them in."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from compress.graph.anew import made_anew
from compress.graph.channels import output_axis
from compress.graph.graph import Call, trace
from compress.graph.kernels import kernel_of

_LINEAR = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)


def pairs(model: keras.Model) -> dict[str, tuple[str, str]]:
    """Returns for each batch normalisation the layer to fold it into, or why there is none.

    Args:
        model: Functional or Sequential.

    Returns:
        By path: (path of the layer, ``) or (``, reason).
    """
    graph = trace(model)
    makers = {id(tensor): call for call in graph.calls for tensor in call.outputs}
    outputs = [id(tensor) for tensor in graph.outputs]
    readers: dict[int, int] = {}
    times: dict[str, int] = {}
    for call in graph.calls:
        times[call.path] = times.get(call.path, 0) + 1
        for tensor in call.inputs:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    found: dict[str, set[tuple[str, str]]] = {}
    for call in graph.calls:
        if not isinstance(call.operation, layers.BatchNormalization):
            continue
        tensor = call.inputs[0]
        maker = makers.get(id(tensor))
        alone = readers[id(tensor)] + outputs.count(id(tensor)) == 1
        reason = _reason(call, maker, alone=alone)
        if not reason and maker and times[call.path] != times[maker.path]:
            reason = f"it and {maker.path} are not always called together"
        end = ("", reason) if reason or not maker else (maker.path, "")
        found.setdefault(call.path, set()).add(end)
    shared = ("", "it follows several layers")
    return {path: ends.pop() if len(ends) == 1 else shared for path, ends in found.items()}


def folded(layer: layers.Layer, norm: layers.BatchNormalization) -> layers.Layer:
    """Returns a layer that does what both do at inference, built.

    It is frozen where the first is. Its penalties are those of the first, on the kernel and bias
    that both make; those on scale and offset of the normalisation go with them.

    Args:
        layer: Linear, with a kernel.
        norm: Over the last axis.
    """
    twin = made_anew(layer, use_bias=True)
    twin.build_from_config(layer.get_build_config())
    values = {weight.name: _array(weight) for weight in layer.weights}
    scale = 1 / np.sqrt(_array(norm.moving_variance) + norm.epsilon)
    scale = scale * _array(norm.gamma) if norm.scale else scale
    kernel = kernel_of(layer)
    values[kernel.name] = values[kernel.name] * _along(scale, layer, kernel)
    values["bias"] = (values.get("bias", 0.0) - _array(norm.moving_mean)) * scale
    values["bias"] = values["bias"] + (_array(norm.beta) if norm.center else 0.0)
    learns = {weight.name: weight.trainable for weight in layer.weights}
    for weight in twin.weights:
        weight.assign(values[weight.name])
        weight.trainable = learns.get(weight.name, layer.trainable)
    return twin


def rest(norm: layers.BatchNormalization) -> layers.Layer:
    """Returns what stays in the place of a normalisation that is folded: its name, its penalty."""
    return layers.Identity(name=norm.name, activity_regularizer=norm.activity_regularizer)


def _reason(call: Call, maker: Call | None, *, alone: bool) -> str:
    """Why a normalisation stays; empty where it need not."""
    norm, shape = call.operation, call.outputs[0].shape
    if maker is None or not isinstance(maker.operation, _LINEAR):
        return "no convolution or dense layer stands right before it"
    if maker.operation.activation is not keras.activations.linear:
        return f"{maker.path} has an activation"
    if maker.operation.activity_regularizer is not None:
        return f"{maker.path} has a penalty on what it gives"
    if not alone:
        return f"{maker.path} has other readers"
    if norm.axis not in (-1, len(shape) - 1):
        return "it is not over the last axis"
    if getattr(maker.operation, "data_format", None) == "channels_first":
        return f"{maker.path} has its channels first"
    return ""


def _along(scale: np.ndarray, layer: layers.Layer, kernel: keras.Variable) -> np.ndarray:
    """The scale in a shape that multiplies the filters of a kernel."""
    if isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)):
        return scale.reshape(kernel.shape[-2:])  # (channels, multiplier)
    shape = [1] * len(kernel.shape)
    shape[output_axis(layer)] = -1
    return scale.reshape(shape)


def _array(variable: keras.Variable) -> np.ndarray:
    array: np.ndarray = keras.ops.convert_to_numpy(variable).astype("float64")
    return array
