"""A kernel whose weights share a few values.

Source: Han, Mao & Dally 2016, Deep compression, arXiv:1510.00149, section 3: the gradient of a
shared value is the sum of the gradients of the weights that have it (eq. 3).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from compress.layers.parametrized import Parametrization


@keras.saving.register_keras_serializable(package="compress")
class Shared(Parametrization):
    """`values[places]`: the values learn, which weight has which is fixed.

    Args:
        size: Number of values.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        values: (size,), learns.
        places: Indices into the values, in the kernel's shape, int32.
    """

    replaces = True
    holds = True

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes values that are 0."""
        fixed = {"initializer": "zeros", "dtype": "int32", "trainable": False}
        self.values = self.add_weight(shape=(self.size,), initializer="zeros", name="values")
        self.places = self.add_weight(shape=input_shape, name="places", **fixed)

    def read(self, kernel: np.ndarray) -> None:
        """Takes values and places from a kernel.

        Args:
            kernel: Has `size` distinct values.
        """
        values, places = np.unique(kernel, return_inverse=True)
        self.values.assign(values)
        self.places.assign(places.reshape(kernel.shape))

    def call(self, kernel: Any) -> Any:
        """Makes the kernel up; the one that is given is not read."""
        # The product makes the gradient dense: of a bare look-up it is a list of summands.
        return ops.take(self.values * 1.0, self.places)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "size": self.size}
