"""A dense layer that is used in both directions: the tied weights of an autoencoder.

Source: Vincent et al. 2008, Extracting and composing robust features with denoising autoencoders,
ICML 25, section 2.2: W' = W^T. The layer is called twice, on an input and on a code, so that one
kernel learns by both calls, and a saved, copied or compressed model holds it once.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="zoo")
class TiedDense(layers.Layer):
    """x W + b of an input, y W^T + b' of a code: the number of features tells which it is given.

    Shapes: (batch, ..., features) to (batch, ..., units), and (batch, ..., units) to (batch, ...,
    features).

    Args:
        features: Numbers of an input.
        units: Numbers of a code; others than `features`.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1, both are equal, or a tensor has neither of them.
    """

    kernel_names = ("kernel",)  # what compression works on

    def __init__(self, features: int, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features = checks.whole(features, "TiedDense: features")
        self.units = checks.whole(units, "TiedDense: units")
        if features == units:
            raise ValueError(
                f"TiedDense: got {features} features and as many units; expected two numbers, which"
                " tell an input from a code."
            )

    def build(self, input_shape: Shape) -> None:
        """Makes the kernel, whichever of the two calls comes first."""
        self.kernel = self.add_weight(
            shape=(self.features, self.units), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.bias_back = self.add_weight(
            shape=(self.features,), initializer="zeros", name="bias_back"
        )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Makes a code of (batch, ..., features), or the reverse of (batch, ..., units)."""
        if self._width(inputs.shape) == self.features:
            return ops.matmul(inputs, self.kernel) + self.bias
        return ops.matmul(inputs, ops.transpose(self.kernel)) + self.bias_back

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The other number of features."""
        other = self.units if self._width(input_shape) == self.features else self.features
        return (*input_shape[:-1], other)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "features": self.features, "units": self.units}

    def _width(self, shape: Shape) -> int | None:
        width = shape[-1]
        if width not in (self.features, self.units):
            raise ValueError(
                f"TiedDense: got the shape {tuple(shape)}; expected {self.features} features, or "
                f"{self.units} of a code, last."
            )
        return width
