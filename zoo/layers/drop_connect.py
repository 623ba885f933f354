"""DropConnect: training drops the weights of a dense layer, where dropout drops its units.

Source: Wan, Zeiler, Zhang, LeCun & Fergus 2013, Regularization of neural networks using
DropConnect, ICML 28(3), sections 3 and 3.1, algorithm 1. Differs: what is kept is scaled up in
training, as Keras' dropout does, so the weights are those of a plain dense layer; the Gaussian of
inference is averaged over fixed quantiles and not over draws.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import keras
from keras import KerasTensor, initializers, layers, ops

from zoo.layers import checks


@keras.saving.register_keras_serializable(package="zoo")
class DropConnect(layers.Layer):
    """A dense layer of which each weight, and each bias, is dropped with probability `rate`.

    Shapes: (batch, features) to (batch, units). At inference every weight is kept: the mean
    network, a plain dense layer. With `samples` it is the paper's: the sum of a unit over random
    masks is close to a normal variable of mean `W x + b` and variance `rate / (1 - rate) *
    (W**2 x**2 + b**2)`, and the output is the mean of the activation over it. Under
    `tf.distribute`'s mirrored strategy all replicas draw the same masks.

    Args:
        units: Length of the output.
        rate: Probability that a weight is dropped, in [0, 1); the paper uses 0.5.
        activation: As in `Dense`.
        per_example: Whether each example of a batch has a mask of its own, as in the paper; that
            takes batch * features * units numbers. Otherwise the batch shares one.
        samples: Quantiles of the normal variable to average at inference; 0 for the mean network.
        use_bias: Whether to add a bias.
        kernel_initializer: As in `Dense`.
        seed: Seed of the masks; `None` takes one from the global generator.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is outside its range, or the input is not (batch, features).
    """

    kernel_names = ("kernel",)  # what compression works on

    def __init__(
        self,
        units: int,
        rate: float = 0.5,
        *,
        activation: Any = None,
        per_example: bool = True,
        samples: int = 0,
        use_bias: bool = True,
        kernel_initializer: Any = "he_normal",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"DropConnect: rate got {rate!r}; expected a number in [0, 1).")
        self.units = checks.whole(units, "DropConnect: units")
        self.rate = float(rate)
        self.activation = keras.activations.get(activation)
        self.per_example = bool(per_example)
        self.samples = checks.whole(samples, "DropConnect: samples", 0)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the kernel (features, units) and the bias (units,)."""
        self.compute_output_shape(input_shape)
        self.kernel = self.add_weight(
            shape=(input_shape[1], self.units), initializer=self.kernel_initializer, name="kernel"
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        """Maps (batch, features) to (batch, units)."""
        if training and self.rate:
            return self.activation(self._drop(inputs))
        mean = ops.matmul(inputs, self.kernel)
        if self.use_bias:
            mean = mean + self.bias
        if not (self.samples and self.rate):
            return self.activation(mean)
        spread = self._deviation(inputs)
        normal = NormalDist()
        quantiles = [normal.inv_cdf((i + 0.5) / self.samples) for i in range(self.samples)]
        return sum(self.activation(mean + q * spread) for q in quantiles) / self.samples

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, units)."""
        if len(input_shape) != 2 or input_shape[1] is None:
            raise ValueError(
                f"DropConnect: got the shape {tuple(input_shape)}; expected (batch, features). "
                "Flatten the maps."
            )
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            "rate": self.rate,
            "activation": keras.activations.serialize(self.activation),
            "per_example": self.per_example,
            "samples": self.samples,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
        }

    def _deviation(self, x: KerasTensor) -> KerasTensor:
        """Deviation of each unit's sum over random masks, (batch, units)."""
        # Squares leave float16's range, and a root has no gradient at 0.
        precise = keras.backend.result_type(x.dtype, "float32")
        variance = ops.matmul(
            ops.square(ops.cast(x, precise)), ops.square(ops.cast(self.kernel, precise))
        )
        if self.use_bias:
            variance = variance + ops.square(ops.cast(self.bias, precise))
        variance = variance * (self.rate / (1 - self.rate))
        return ops.cast(ops.sqrt(ops.maximum(variance, 1e-12)), x.dtype)

    def _drop(self, x: KerasTensor) -> KerasTensor:
        """`(M * W) x + m * b`, with M and m 0 or 1 / (1 - rate)."""
        examples = ops.shape(x)[:1] if self.per_example else (1,)
        kernel = self._mask((*examples, *self.kernel.shape), x.dtype) * self.kernel
        out = ops.einsum("bi,biu->bu", x, kernel) if self.per_example else ops.matmul(x, kernel[0])
        if self.use_bias:
            out = out + self._mask((*examples, self.units), x.dtype) * self.bias
        return out

    def _mask(self, shape: tuple[Any, ...], dtype: str) -> KerasTensor:
        draw = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return ops.cast(draw >= self.rate, dtype) / (1 - self.rate)
