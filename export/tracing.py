"""How the graph of a file is traced: inner functions in place, winners as one operator.

Neither TensorFlow nor Keras has a setting for it that is one thread's: this module puts a hook on
each, once, for good. It acts in a block of `inlined` or `plain_winners`, in the thread that is in
it, and does nothing elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow import numpy as backend

_INLINED: ContextVar[bool] = ContextVar("functions traced in place", default=False)
_PLAIN: ContextVar[bool] = ContextVar("winners as one operator", default=False)


@contextlib.contextmanager
def inlined() -> Iterator[None]:
    """Traces inner functions in place: Keras wraps grouped convolutions in one, for XLA."""
    with _set(_INLINED):
        yield


@contextlib.contextmanager
def plain_winners() -> Iterator[None]:
    """Traces `keras.ops.argmax` and `argmin` as one operator each, which all formats have.

    Keras looks at the bits of the sign first, to put -0.0 below 0.0, and no format has that; in a
    file the first of two zeros wins.
    """
    with _set(_PLAIN):
        yield


@contextlib.contextmanager
def _set(variable: ContextVar[bool]) -> Iterator[None]:
    token = variable.set(True)
    try:
        yield
    finally:
        variable.reset(token)


def _winner(usual: Any, find: Any) -> Any:
    @functools.wraps(usual)
    def winner(x: Any, axis: int | None = None, keepdims: bool = False) -> tf.Tensor:
        if not _PLAIN.get():
            return usual(x, axis=axis, keepdims=keepdims)
        x = tf.convert_to_tensor(x)
        rank = x.shape.rank
        if axis is None:
            place = find(tf.reshape(x, [-1]), axis=0, output_type=tf.int32)
            return tf.reshape(place, [1] * rank) if keepdims else place
        place = find(x, axis=axis, output_type=tf.int32)
        return tf.expand_dims(place, axis) if keepdims else place

    return winner


def _eager_where_inlined(usual: property) -> property:
    """What TensorFlow asks before each call of a function: whether to run its code in place."""
    return property(lambda function: _INLINED.get() or usual.__get__(function))


backend.argmax = _winner(backend.argmax, tf.argmax)
backend.argmin = _winner(backend.argmin, tf.argmin)
_Function = type(tf.function(lambda: None))
_Function._run_functions_eagerly = _eager_where_inlined(_Function._run_functions_eagerly)
