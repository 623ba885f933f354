"""Local response normalisation: a channel is damped where its neighbours are strong.

Source: Krizhevsky, Sutskever & Hinton 2012, NIPS 25, section 3.3. As in the paper, alpha multiplies
the sum over the window; Caffe and PyTorch multiply the mean, so their alpha is `size` times ours.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops


@keras.saving.register_keras_serializable(package="zoo")
class LocalResponseNormalization(layers.Layer):
    """Divides each value by `(k + alpha * sum of squares over the window) ** beta`.

    The window is `size` neighbouring channels at the same place, and ends at the first and the last
    channel. Shapes: any (batch, ..., channels) to the same.

    Args:
        size: Channels in the window, an odd number.
        k: What the sum starts from, above 0.
        alpha: Factor of the sum of squares.
        beta: Exponent.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `size` is not odd, or `k` is not above 0.
    """

    def __init__(
        self,
        *,
        size: int = 5,
        k: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise ValueError(
                f"LocalResponseNormalization: size got {size}; expected an odd number."
            )
        if k <= 0:
            raise ValueError(
                f"LocalResponseNormalization: k got {k}; expected a number above 0: a window of "
                "zeros would divide by zero."
            )
        self.size = size
        self.k = k
        self.alpha = alpha
        self.beta = beta
        self.supports_masking = True

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Normalises (batch, ..., channels)."""
        # Squares leave float16's range, and k + alpha * sum needs more than bfloat16's 8 bits.
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        # A product with a band of ones adds up the window, four times as fast as shifted slices do.
        place = ops.arange(inputs.shape[-1])
        band = ops.cast(ops.abs(place[:, None] - place) <= self.size // 2, x.dtype)
        total = self.k + self.alpha * ops.matmul(x * x, band)
        if self.beta == 0.75:
            # total ** -0.75 in two roots: TFLite's int8 kernels know no power.
            root = ops.rsqrt(total)
            scale = root * ops.rsqrt(total * root)
        else:
            scale = ops.power(total, -self.beta)
        return ops.cast(x * scale, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "size": self.size,
            "k": self.k,
            "alpha": self.alpha,
            "beta": self.beta,
        }
