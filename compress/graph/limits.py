"""A limit on the weights that are made while a model is built from a file."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def limited(num_weights: int) -> Iterator[None]:
    """Refuses to make more weights than that in the block.

    Keras makes the weights of a layer as its configuration says, before it looks for their values:
    a few bytes could ask for more memory than there is.

    Args:
        num_weights: Numbers, over all layers.

    Raises:
        ValueError: The layers want more.
    """
    usual, wanted = keras.layers.Layer.add_weight, 0

    def add_weight(layer: Any, shape: Any = None, *args: Any, **settings: Any) -> Any:
        nonlocal wanted
        sides = () if shape is None else (shape,) if isinstance(shape, int) else shape
        wanted += math.prod(sides)
        if wanted > num_weights:
            raise ValueError(
                f"the layers up to {layer.name!r} want {wanted:,} weights, and the file cannot "
                f"hold more than {num_weights:,}"
            )
        return usual(layer, shape, *args, **settings)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = usual
