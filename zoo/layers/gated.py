"""The gate of the gated PixelCNN: one half of the channels opens and shuts the other."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops


@keras.saving.register_keras_serializable(package="zoo")
class GatedActivation(layers.Layer):
    """`tanh(a) * sigmoid(b)` of the two halves of the channels (van den Oord 2016, equation 2).

    Source: arXiv:1606.05328, after the gates of an LSTM. Shapes: (batch, ..., 2 n) to
    (batch, ..., n).

    Args:
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def build(self, input_shape: Any) -> None:
        """Refuses an odd number of channels."""
        if input_shape[-1] is None or input_shape[-1] % 2:
            raise ValueError(
                f"{self.name}: got {input_shape[-1]} channels; expected an even number, of which "
                "one half gates the other."
            )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        values, gates = ops.split(inputs, 2, axis=-1)
        return ops.tanh(values) * ops.sigmoid(gates)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Half the channels."""
        return (*input_shape[:-1], input_shape[-1] // 2)
