"""Where a number ceases to be one: the first layer whose outputs are infinite or no numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from compress.graph import leaf_layers
from zoo.tasks.task import Task


def watch(model: keras.Model, look: Callable[[str, keras.layers.Layer, Any], None]) -> None:
    """Calls `look` with the path, the layer and its outputs whenever a layer is called eagerly.

    Args:
        model: A copy of one's own: its layers are changed for good.
        look: Is called from within the layer's call.
    """
    for path, layer in leaf_layers(model):
        layer.call = _watched(layer.call, path, layer, look)


def first_not_finite(
    task: Task,
    objectives: Iterable[str],
    networks: Mapping[str, keras.Model],
    batch: Mapping[str, Any],
) -> str | None:
    """Returns the first layer whose outputs are not all finite, on a batch in training.

    Args:
        task: Looks at the batch.
        objectives: Names of those that take turns.
        networks: By name; their layers are changed for good.
        batch: Columns (b, ...).
    """
    found: list[str] = []

    def look(network: str, path: str, layer: keras.layers.Layer, outputs: Any) -> None:
        for one in keras.tree.flatten(outputs):
            values = keras.ops.convert_to_numpy(keras.ops.cast(one, "float32"))
            if not found and not np.isfinite(values).all():
                found.append(f"{path} of {network}" if len(networks) > 1 else path)

    for name, network in networks.items():
        watch(network, functools.partial(look, name))
    for objective in objectives:
        task.look(objective, networks, batch, training=True)
        if found:
            return found[0]
    return None


def _watched(call: Any, path: str, layer: Any, look: Any) -> Any:
    @functools.wraps(call)
    def watched(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        look(path, layer, outputs)
        return outputs

    return watched
