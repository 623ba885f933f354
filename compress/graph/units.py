"""Channels that are no filters of one kernel: units of recurrent layers, heads of attention.

units    a column of each gate, in the kernel, the recurrent kernel and the bias, and a row of the
         recurrent kernel
heads    what attention projects to for a head, and what it projects back from it; of grouped
         queries a head of keys and values with all the queries that read it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from compress.graph.anew import made_anew

RECURRENT = (layers.SimpleRNN, layers.LSTM, layers.GRU)
ATTENTION = (layers.MultiHeadAttention, layers.GroupQueryAttention)
_JOINED = ("concat", "sum", "mul", "ave")


def is_recurrent(layer: Any) -> bool:
    """Returns whether a layer is recurrent, or two in both directions, and gives one tensor."""
    if type(layer) is layers.Bidirectional:
        both = (layer.forward_layer, layer.backward_layer)
        known = layer.merge_mode in _JOINED and all(map(is_recurrent, both))
        return known and both[0].units == both[1].units
    return type(layer) in RECURRENT and not layer.return_state and not layer.stateful


def is_attention(layer: Any) -> bool:
    """Returns whether a layer is one of Keras' attentions with heads, and has some to spare."""
    return type(layer) in ATTENTION and num_units(layer) > 1


def num_units(layer: Any) -> int:
    """Returns the number of units of a recurrent layer, or of heads."""
    if type(layer) is layers.Bidirectional:
        sizes = [layer.forward_layer.units, layer.backward_layer.units]
        return sum(sizes) if layer.merge_mode == "concat" else sizes[0]
    if type(layer) is layers.MultiHeadAttention:
        return int(layer.num_heads)
    if type(layer) is layers.GroupQueryAttention:
        return int(layer.num_key_value_heads)
    return int(layer.units)


def by_unit(layer: Any) -> list[tuple[keras.Variable, Callable[[np.ndarray], np.ndarray]]]:
    """Returns the kernels of a layer, each with a function that lays it out as (..., units).

    Args:
        layer: Recurrent, or attention.
    """
    if type(layer) is layers.Bidirectional:
        sizes = [layer.forward_layer.units, layer.backward_layer.units]
        joined = layer.merge_mode == "concat"
        found = []
        for place, one in enumerate((layer.forward_layer, layer.backward_layer)):
            for variable, laid in by_unit(one):
                edges = ((0, 0), (sum(sizes[:place]), sum(sizes[place + 1 :])))
                found.append((variable, _padded(laid, edges) if joined else laid))
        return found
    if type(layer) in RECURRENT:
        units = layer.units
        cell = layer.cell
        return [
            (kernel, lambda array: array.reshape(-1, units))
            for kernel in (cell.kernel, cell.recurrent_kernel)
        ]
    count = num_units(layer)
    inward = [layer._query_dense, layer._key_dense, layer._value_dense]
    found = [(one.kernel, lambda array: _by_head(array, -2, count)) for one in inward]
    return [*found, (layer._output_dense.kernel, lambda array: _by_head(array, 0, count))]


def narrowed(layer: Any, into: np.ndarray, out: np.ndarray) -> layers.Layer:
    """Returns a layer with some of its units or heads, built, with their weights.

    Args:
        layer: Recurrent, or attention.
        into: Places of the channels into it that stay; of attention all do.
        out: Places of the units, or heads, that stay.
    """
    if is_attention(layer):
        return _with_heads(layer, out)
    shape = (*next(iter(layer.get_build_config().values()))[:-1], len(into))
    if type(layer) is not layers.Bidirectional:
        twin = made_anew(layer, units=len(out))
        twin.build(shape)
        _fill(layer, twin, into, out)
        return twin
    pairs = [("layer", layer.forward_layer), ("backward_layer", layer.backward_layer)]
    kept, config, start = [], layer.get_config(), 0
    for name, one in pairs:
        own = out
        if layer.merge_mode == "concat":
            own = out[(out >= start) & (out < start + one.units)] - start
            start += one.units
        kept.append(own)
        part = {key: value for key, value in config[name].items() if key != "build_config"}
        config[name] = {**part, "config": {**part["config"], "units": len(own)}}
    twin = made_anew(layer, layer=config["layer"], backward_layer=config["backward_layer"])
    twin.build(shape)
    for (_, old), new, own in zip(
        pairs, (twin.forward_layer, twin.backward_layer), kept, strict=True
    ):
        _fill(old, new, into, own)
    return twin


def _fill(old: Any, new: Any, into: np.ndarray, out: np.ndarray) -> None:
    """Gives a recurrent layer with fewer units the weights of those that stay."""
    units = old.units
    for source, target in zip(old.weights, new.weights, strict=True):
        array = keras.ops.convert_to_numpy(source)
        gates = array.shape[-1] // units
        columns = (np.arange(gates)[:, None] * units + out).reshape(-1)
        array = np.take(array, columns, -1)
        if source.name == "kernel":
            array = np.take(array, into, 0)
        elif source.name == "recurrent_kernel":
            array = np.take(array, out, 0)
        target.assign(array)
        target.trainable = source.trainable


def _with_heads(layer: Any, out: np.ndarray) -> layers.Layer:
    count = num_units(layer)
    if type(layer) is layers.MultiHeadAttention:
        twin = made_anew(layer, num_heads=len(out))
    else:
        each = layer.num_query_heads // count
        heads = {"num_query_heads": each * len(out), "num_key_value_heads": len(out)}
        twin = made_anew(layer, **heads)
    twin.build_from_config(layer.get_build_config())
    parts = ("_query_dense", "_key_dense", "_value_dense", "_output_dense")
    for name in parts:
        old, new = getattr(layer, name), getattr(twin, name)
        for source, target in zip(old.weights, new.weights, strict=True):
            array = keras.ops.convert_to_numpy(source)
            if name != "_output_dense":
                array = _some_heads(array, -2, count, out)
            elif array.ndim > 1:
                array = _some_heads(array, 0, count, out)
            target.assign(array)
            target.trainable = source.trainable
    return twin


def _some_heads(array: np.ndarray, axis: int, count: int, out: np.ndarray) -> np.ndarray:
    """Some heads of an array; where it has several for each, all of these."""
    each = array.shape[axis] // count
    places = (out[:, None] * each + np.arange(each)).reshape(-1)
    return np.take(array, places, axis)


def _by_head(array: np.ndarray, axis: int, count: int) -> np.ndarray:
    moved = np.moveaxis(array, axis, 0)
    return moved.reshape(count, -1).T


def _padded(laid: Callable[[np.ndarray], np.ndarray], edges: Any) -> Callable[..., np.ndarray]:
    return lambda array: np.pad(laid(array), edges)
