"""Networks joined to one graph without nested models, and taken apart again.

Keras loses what nested models share when it loads a file: a step of a nested model is found by its
number among all calls of a layer. In a flat graph a layer that is called twice is one layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from compress.graph.graph import is_graph, replay


def run(
    model: keras.Model, inputs: Any, *, instead: Mapping[str, keras.layers.Layer] | None = None
) -> Any:
    """Returns the outputs of a model for other inputs, by its very layers, also nested ones.

    Args:
        model: Functional or Sequential.
        inputs: In the structure of its own.
        instead: Layers that stand in for those of the same names.
    """

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if is_graph(operation):
            return replay(operation, args[0], call)
        return (instead or {}).get(operation.name, operation)(*args, **kwargs)

    return replay(model, inputs, call)


def divided(
    model: keras.Model, middle: keras.layers.Layer, end: keras.layers.Layer, *, names: Sequence[str]
) -> tuple[keras.Model, keras.Model]:
    """Returns a model up to a layer, and from there to another one, with the very layers.

    Args:
        model: Functional, flat, of one input.
        middle: The last layer of the first part; what follows depends on nothing else.
        end: What the second part gives is given to this layer, which is not in it.
        names: Of the two parts, and of the input of the second.
    """
    given = keras.Input(batch_shape=middle.output.shape, dtype=middle.output.dtype, name=names[2])
    kept = {}

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if operation is end:
            kept["end"] = args[0]
        made = operation(*args, **kwargs)
        if operation is middle:
            kept["middle"] = made
            return given
        return made

    image = model.inputs[0]
    start = keras.Input(batch_shape=image.shape, dtype=image.dtype, name=image.name)
    replay(model, start, call)
    return (
        keras.Model(start, kept["middle"], name=names[0]),
        keras.Model(given, kept["end"], name=names[1]),
    )
