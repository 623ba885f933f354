"""Copies of a model to examine: in another precision, or without chance."""

from __future__ import annotations

import functools
from typing import Any

import keras

from compress.graph import map_layers


def copy(model: keras.Model, *, dtype: str = "float32", still: bool = False) -> keras.Model:
    """Returns a copy with equal weights.

    Args:
        model: Functional.
        dtype: Type of all weights and all arithmetic of the copy, the outputs' too.
        still: Whether layers that draw random numbers, e.g. dropout, act as at inference even when
            the rest trains.
    """

    def change(layer: keras.layers.Layer) -> keras.layers.Layer:
        twin = type(layer).from_config(_retyped(layer.get_config(), dtype))
        if still and _draws(twin):
            twin.call = _at_inference(twin.call)
        return twin

    twin = map_layers(model, change)
    for graph in (twin, *twin._flatten_layers(include_self=False)):
        for tensor in graph.inputs if isinstance(graph, keras.Model) else ():
            if keras.backend.is_float_dtype(tensor.dtype):
                tensor._dtype = dtype  # to which a model casts what it is given
    return twin


def _at_inference(call: Any) -> Any:
    @functools.wraps(call)
    def still(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **{**kwargs, "training": False})

    return still


def _draws(layer: keras.layers.Layer) -> bool:
    return any(isinstance(value, keras.random.SeedGenerator) for value in vars(layer).values())


def _retyped(config: Any, dtype: str) -> Any:
    """The config with every `dtype` in it replaced, also those of wrapped layers."""
    if isinstance(config, dict):
        return {
            key: dtype if key == "dtype" else _retyped(value, dtype)
            for key, value in config.items()
        }
    return [_retyped(value, dtype) for value in config] if isinstance(config, list) else config
