"""A kernel of which some weights stay zero."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from compress.layers.parametrized import Parametrization


@keras.saving.register_keras_serializable(package="compress")
class Masked(Parametrization):
    """What is masked is zero and gets no gradient.

    Attributes:
        mask: Mask in the kernel's shape, bool: whether a weight is kept.
    """

    holds = True

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes a mask that keeps everything."""
        self.mask = self.add_weight(
            shape=input_shape, initializer="ones", dtype="bool", trainable=False, name="mask"
        )

    def read(self, kernel: np.ndarray) -> None:
        """Keeps what is not zero."""
        self.mask.assign(kernel != 0)

    def call(self, kernel: Any) -> Any:
        """Masks a kernel."""
        return kernel * ops.cast(self.mask, kernel.dtype)  # faster than `where`, both ways
