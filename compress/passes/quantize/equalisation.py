"""Cross-layer equalisation: channels between two layers scaled, so that their kernels round well.

Source: Nagel et al. 2019, Data-free quantization, arXiv:1906.04721, section 4.1. A ReLU lets a
positive factor through, so W2 relu(W1 x + b1) = (W2 S) relu(S^-1 W1 x + S^-1 b1), and with

    s_i = sqrt(r1_i r2_i) / r2_i            r: largest magnitude of a channel's weights (eq. 11)

both kernels span the same range in channel i. Only pairs with nothing but ReLU and pooling between
them, and no other reader, are equalised; ReLU6 is not positively homogeneous.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compress.graph import Call, copy_model, leaf_layers, trace
from compress.graph.kernels import kernel_of

SWEEPS = 20
_KERNELS = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv2D)
_THROUGH = (
    *("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling"),
    *("ZeroPadding", "Cropping", "UpSampling", "Dropout", "SpatialDropout", "Identity"),
)


def equalised(model: keras.Model) -> tuple[keras.Model, list[tuple[str, str]]]:
    """Returns a model of equal answers, up to rounding, and the pairs of paths that it scaled.

    Args:
        model: Its normalisations folded; stays as it is.
    """
    new = copy_model(model)
    found = dict(leaf_layers(new))
    chosen = pairs(new)
    for _ in range(SWEEPS):
        moved = [_equalise(found[first], found[second]) for first, second in chosen]
        if max(moved, default=0.0) < 1e-3:
            break
    return new, chosen


def pairs(model: keras.Model) -> list[tuple[str, str]]:
    """Returns the paths of layers that can be scaled against one another."""
    graph = trace(model)
    times: dict[str, int] = {}
    readers: dict[int, list[Call]] = {}
    for call in graph.calls:
        times[call.path] = times.get(call.path, 0) + 1
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    ends = {id(tensor) for tensor in graph.outputs}

    def reader(call: Call) -> Call | None:
        tensor = call.outputs[0]
        found = readers.get(id(tensor), [])
        return found[0] if len(found) == 1 and id(tensor) not in ends else None

    chosen = []
    for call in graph.calls:
        if not _scales(call.operation, out=True) or times[call.path] > 1:
            continue
        last = reader(call)
        while last is not None and _lets_through(last.operation):
            last = reader(last)
        if last is not None and _scales(last.operation, out=False) and times[last.path] == 1:
            chosen.append((call.path, last.path))
    return chosen


def _scales(layer: Any, *, out: bool) -> bool:
    if type(layer) not in _KERNELS or getattr(layer, "groups", 1) != 1:
        return False
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return False
    if isinstance(layer, layers.DepthwiseConv2D) and layer.depth_multiplier != 1:
        return False
    return not out or layer.activation in (keras.activations.linear, keras.activations.relu)


def _lets_through(layer: Any) -> bool:
    if isinstance(layer, layers.Activation):
        return layer.activation in (keras.activations.linear, keras.activations.relu)
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and not layer.threshold
    return type(layer).__name__.startswith(_THROUGH)


def _equalise(first: layers.Layer, second: layers.Layer) -> float:
    """Scales two layers, in place; returns by how much, as a logarithm."""
    one, two = (ops.convert_to_numpy(kernel_of(layer)) for layer in (first, second))
    made = -2 if isinstance(first, layers.DepthwiseConv2D) else -1
    r1, r2 = _largest(one, made), _largest(two, -2)
    used = (r1 > 0) & (r2 > 0)
    scale = np.where(used, np.sqrt(r1 / np.where(used, r2, 1.0)), 1.0)
    kernel_of(first).assign(one / _along(scale, one.ndim, made))
    if first.use_bias:
        first.bias.assign(first.bias / scale)
    kernel_of(second).assign(two * _along(scale, two.ndim, -2))
    return float(np.abs(np.log(scale)).max())


def _largest(kernel: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(i for i in range(kernel.ndim) if i != axis % kernel.ndim)
    largest: np.ndarray = np.abs(kernel).max(others)
    return largest


def _along(scale: np.ndarray, rank: int, axis: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = -1
    return scale.reshape(shape)
