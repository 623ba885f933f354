"""Graphs as plain data, from which they can be built again: what a file holds of a model.

How a model was compiled is left out: losses and metrics are often functions of the user's own,
which no reader knows.
"""

from __future__ import annotations

import json
import re
from typing import Any

import keras
from keras.src.saving.serialization_lib import ObjectSharingScope  # Keras' files keep ties by it

from compress import layers
from compress.graph import copy_model, leaf_layers


def graph_config(model: keras.Model) -> dict[str, Any]:
    """Returns a model's graph as plain data, after it was built again from that.

    Raises:
        ValueError: It cannot be built again; the line names the layer.
    """
    with ObjectSharingScope():
        config: dict[str, Any] = _stripped(keras.saving.serialize_keras_object(uncompiled(model)))
    try:
        built(json.loads(json.dumps(config)))
    except Exception as error:  # of the user's own code too
        raise unreadable(model, error) from None
    return config


def built(config: dict[str, Any]) -> keras.Model:
    """Builds the model of such data, which Keras uses up."""
    layers.register()
    with ObjectSharingScope():
        return keras.saving.deserialize_keras_object(config)


def uncompiled(model: keras.Model) -> keras.Model:
    """Returns the model, or a copy where it, or a model within it, is compiled."""
    parts = model._flatten_layers()
    return copy_model(model) if any(getattr(part, "compiled", False) for part in parts) else model


def unreadable(model: keras.Model, error: Exception) -> ValueError:
    """Returns the error of a model that is not read back from a file, with the layer's name.

    Args:
        model: Functional or Sequential.
        error: What came of reading it.
    """
    where, what = f"model {model.name!r}", type(model).__name__
    for path, layer in leaf_layers(model):
        try:
            config = keras.saving.serialize_keras_object(layer)
            keras.saving.deserialize_keras_object(config)
        except Exception as own:  # likewise
            where, what, error = f"layer {path!r}", type(layer).__name__, own
            break
    if what == "Lambda":
        todo = (
            "the code in a Lambda is not taken from a file; write it as a layer of your own, "
            "decorated with @keras.saving.register_keras_serializable()."
        )
    else:
        told = " ".join(str(error).split())
        if missing := re.search(r"[Cc]ould not locate (\w+ '[^']+')", told):
            told = f"there is no {missing[1]} where it is read."
        told = told if len(told) <= 160 else f"{told[:160]}..."
        todo = (
            f"{told} To do: decorate classes and functions of your own with "
            "@keras.saving.register_keras_serializable(), or call this within "
            "keras.saving.custom_object_scope({...})."
        )
    return ValueError(f"{where} ({what}) cannot be read back from a file: {todo}")


def _stripped(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _stripped(value) for key, value in config.items() if key != "compile_config"}
    return [_stripped(value) for value in config] if isinstance(config, list) else config
