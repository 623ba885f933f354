"""A kernel that is a step times integers, and what these take in a file, while it is trained.

Sources: Oktay, Balle, Singh & Shrivastava 2020, Scalable model compression by entropy penalized
reparameterization, arXiv:1906.06624: integers whose learned distribution gives a penalty in bits.
Straight-through rounding and the gradient of a learned step: Esser et al. 2020, arXiv:1902.08153.
Differs: the distribution is that of the coder of `compress.measure.coder`, rows and columns apart,
and it is counted anew in each step: that is its maximum likelihood, where nothing has to learn.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from compress.layers.parametrized import Parametrization
from compress.measure.coder import matrix_shape
from compress.measure.weights import short, step_of

_HALF = 0.5  # of a count, so that what never was is not impossible


@keras.saving.register_keras_serializable(package="compress")
class Latent(Parametrization):
    """`step * round(kernel / step)`; the gradient passes the rounding, and the step learns.

    Adds `rate` times `bits` of what it is given to the loss.

    Args:
        first: First step, in root mean squares of the kernel; one that is on a grid has its step.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        log_step: Logarithm of the step, learns.
        rate: Loss of a bit, does not learn.
    """

    def __init__(self, first: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = first

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes a step of 1, and a bit that costs nothing."""
        self.log_step = self.add_weight(shape=(), initializer="zeros", name="log_step")
        self.rate = self.add_weight(shape=(), initializer="zeros", trainable=False, name="rate")
        self.slowness = 1 / math.sqrt(math.prod(input_shape))

    def read(self, kernel: np.ndarray) -> None:
        """Takes the step from a kernel's weights, zeros left out."""
        kept = kernel[kernel != 0].astype(float)
        size = math.sqrt(np.mean(kept**2)) if kept.size else 1.0
        self.log_step.assign(math.log(step_of(kernel) or short(self.first * size)))

    def step(self) -> Any:
        """Returns the step; its gradient is that of a single weight, not of all together."""
        held = ops.stop_gradient(self.log_step)
        return ops.exp(held + self.slowness * (self.log_step - held))

    def call(self, kernel: Any) -> Any:
        """Rounds a kernel."""
        step = self.step()
        places = kernel / step
        return step * (places + ops.stop_gradient(ops.round(places) - places))

    def toll(self, kernel: Any) -> Any:
        """What the bits of a kernel add to the loss."""
        return self.rate * bits(kernel / self.step())

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "first": self.first}


def bits(latent: Any) -> Any:
    """Returns about what a kernel takes in a file, in bits; a sum over its weights.

    Of the integers q = round(x) it is the code length, to a table for each row and column:

        q = 0    -log2(1 - p)             log-odds of p: those of its row and of its column, less
        else     -log2(p) + 1 + sizes     those of the whole kernel
        sizes    of |q|, geometric        with the mean of all that are not 0

    less what an empty kernel would take. Between 0 and 1, and beyond, it is a line: the slope is
    what one step more would cost, the tables held, which is the derivative of the whole code length
    by the counts.

    Args:
        latent: x, a kernel in steps, of any shape.
    """
    size = ops.abs(ops.reshape(latent, matrix_shape(latent.shape)))
    first, further = (ops.stop_gradient(part) for part in prices(ops.round(size)))
    return ops.sum(ops.minimum(size, 1) * first + ops.maximum(size - 1, 0) * further)


def prices(sizes: Any) -> tuple[Any, Any]:
    """Returns the bits of 1 in the place of 0 (rows, columns), and those of one more, a number.

    Args:
        sizes: Absolute values of the integers (rows, columns).
    """
    rows, columns = sizes.shape
    kept = ops.cast(sizes > 0, sizes.dtype)
    of_rows = ops.sum(kept, axis=1, keepdims=True) + _HALF
    of_columns = ops.sum(kept, axis=0, keepdims=True) + _HALF
    whole = ops.sqrt(ops.sum(of_rows) * ops.sum(of_columns))
    whole = ops.minimum(whole, rows * columns)
    odds = _odds(of_rows, columns) + (_odds(of_columns, rows) - _odds(whole, rows * columns))
    count, total = ops.sum(kept), ops.sum(sizes)
    more = (total - count + _HALF) / (total + 2 * _HALF)  # the share of k + 1 and more after k
    least = math.log(2) - ops.log(1 - more)  # the sign, and a size of 1
    return ops.maximum(least - odds, 0) / math.log(2), -ops.log(more) / math.log(2)


def _odds(count: Any, most: int) -> Any:
    return ops.log(count) - ops.log(most + 2 * _HALF - count)
