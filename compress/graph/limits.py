"""A limit on the weights that are made while a model is built from a file.

Keras has no hook for it: this module puts one on `Layer.add_weight`, once, for good. It counts in a
block of `limited`, in the thread that is in it, and does nothing elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras

PASSING = 1 << 26  # weights of a layer that is made whole before its parts are exchanged
AGAIN = 2  # a wrapper, as `Bidirectional` is, makes the weights of what it wraps, then its own


class _Count:
    """The weights that a block may make yet."""

    def __init__(self, most: int) -> None:
        self.most, self.wanted = most, 0

    def add(self, layer: Any, shape: Any) -> None:
        sides = () if shape is None else (shape,) if isinstance(shape, int) else shape
        self.wanted += math.prod(sides)
        if self.wanted > AGAIN * self.most:
            raise ValueError(
                f"the layers up to {layer.name!r} want {self.wanted:,} weights, and the file cannot"
                f" hold more than {self.most:,}"
            )


_COUNT: ContextVar[_Count | None] = ContextVar("weights of a file", default=None)


@contextlib.contextmanager
def limited(num_weights: int) -> Iterator[None]:
    """Refuses to make more weights than that in the block, in this thread.

    Keras makes the weights of a layer as its configuration says, before it looks for their values:
    a few bytes could ask for more memory than there is.

    Args:
        num_weights: Numbers, over all layers; up to twice as many may be made on the way.

    Raises:
        ValueError: The layers want more.
    """
    token = _COUNT.set(_Count(num_weights))
    try:
        yield
    finally:
        _COUNT.reset(token)


@contextlib.contextmanager
def passing(layer: keras.layers.Layer) -> Iterator[None]:
    """Counts what a layer keeps of the weights that are made in the block, not all of them.

    Args:
        layer: It makes them.

    Raises:
        ValueError: More are made in the block than `PASSING`.
    """
    count = _COUNT.get()
    token = _COUNT.set(None if count is None else _Count(PASSING // AGAIN))
    try:
        yield
    finally:
        _COUNT.reset(token)
    if count is not None:
        for variable in layer.variables:
            count.add(layer, variable.shape)


def _counted(add_weight: Any) -> Any:
    @functools.wraps(add_weight)
    def counted(layer: Any, *args: Any, **settings: Any) -> Any:
        count = _COUNT.get()
        if count is not None:
            count.add(layer, settings.get("shape", args[0] if args else None))
        return add_weight(layer, *args, **settings)

    return counted


keras.layers.Layer.add_weight = _counted(keras.layers.Layer.add_weight)
