"""What LeNet-5 of 1998 has and Keras lacks: its squashing function and its sub-sampling.

Source: LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86(11), section II-B and appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks, windows


@keras.saving.register_keras_serializable(package="zoo")
class ScaledTanh(layers.Layer):
    """`amplitude * tanh(slope * x)`, which with the paper's numbers maps 1 to 1 and -1 to -1.

    Shapes: any to the same.

    Args:
        amplitude: The largest value, above 0.
        slope: Factor of the input, above 0.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is not above 0.
    """

    def __init__(self, amplitude: float = 1.7159, slope: float = 2 / 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for key, value in (("amplitude", amplitude), ("slope", slope)):
            if not 0 < value < math.inf:
                raise ValueError(f"ScaledTanh: {key} got {value!r}; expected a number above 0.")
        self.amplitude = float(amplitude)
        self.slope = float(slope)
        self.supports_masking = True

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Squashes each value."""
        return self.amplitude * ops.tanh(self.slope * inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "amplitude": self.amplitude, "slope": self.slope}


@keras.saving.register_keras_serializable(package="zoo")
class Subsampling2D(layers.Layer):
    """The sum of each window, times a trained coefficient, plus a trained bias: one pair a map.

    Shapes: (batch, height, width, channels) to (batch, rows, columns, channels); rows and columns
    behind the last whole window are dropped. A fresh layer averages: its coefficients are 1 /
    places. The squashing function that follows in the paper is a layer of its own.

    Args:
        pool_size: Height and width of the window, and the stride; one number for both.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1, or the map is smaller than the window.
    """

    def __init__(self, pool_size: int | Sequence[int] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = checks.pair(pool_size, "Subsampling2D: pool_size")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes a coefficient and a bias for each map."""
        shape = (input_shape[-1],)
        start = keras.initializers.Constant(1 / math.prod(self.pool_size))
        self.coefficient = self.add_weight(shape=shape, initializer=start, name="coefficient")
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pools (batch, height, width, channels)."""
        self.compute_output_shape(inputs.shape)  # refuses a map without one window
        mean = ops.average_pool(inputs, self.pool_size, data_format="channels_last")
        return mean * (math.prod(self.pool_size) * self.coefficient) + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, rows, columns, channels)."""
        sizes = windows.counts(
            input_shape, self.pool_size, self.pool_size, "valid", "Subsampling2D"
        )
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "pool_size": self.pool_size}
