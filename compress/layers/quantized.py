"""Values on a grid of integers, trained straight through: what an integer kernel will compute.

Source: Jacob et al. 2018, arXiv:1712.05877, section 3. With n bits a range [lo, hi] that holds 0
has 2^n steps, 2^n - 1 where it is symmetric about 0; the gradient is 1 within the range, 0 outside.
Keras' own `fake_quant_with_min_max_vars` rounds, so that converters know it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compress.layers.parametrized import Parametrization, Parametrized

SMALLEST = 1e-6  # half a range
# The ends that integer kernels of 8 bits fix: a step is 1/256 or 1/128.
FIXED = {"softmax": (0.0, 255 / 256), "sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
_AXES = {"tensor": 0, "filter": 1, "depthwise": 2}


@keras.saving.register_keras_serializable(package="compress")
class KernelRange(Parametrization):
    """A kernel on a grid, symmetric about 0, as wide as its largest weight or less.

    Args:
        bits: 4 or 8.
        per: What has a grid of its own: `tensor`, `filter` (the last axis), or `depthwise` (the
            last two).
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        share: What the end of the grid is of the largest magnitude, above 0. What lies beyond is
            cut off; above 1 no weight is at the end.
    """

    def __init__(self, bits: int = 8, *, per: str = "filter", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bits = bits
        self.per = per

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the share, which is 1."""
        count = _AXES[self.per]
        size = int(np.prod(input_shape[len(input_shape) - count :], dtype=int))
        shape = (size,) if count else ()
        self.share = self.add_weight(shape=shape, initializer="ones", trainable=False, name="share")

    def call(self, kernel: Any) -> Any:
        """Rounds a kernel."""
        limit = ops.stop_gradient(self.limit(kernel))
        flat = kernel
        if self.per == "depthwise":
            flat = ops.reshape(kernel, (*kernel.shape[:-2], -1))
        rounded = keras.quantizers.fake_quant_with_min_max_vars(
            flat,
            -limit,
            limit,
            num_bits=self.bits,
            narrow_range=True,
            axis=None if self.per == "tensor" else -1,
        )
        return ops.reshape(rounded, kernel.shape) if self.per == "depthwise" else rounded

    def limit(self, kernel: Any) -> Any:
        """Returns the end of the grid, (filters,) or ()."""
        size = ops.abs(kernel)
        most = ops.max(ops.reshape(size, (-1, *self.share.shape)), axis=0)
        return ops.maximum(most * self.share, SMALLEST)

    def on_grid(self, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel as integers times one float32 scale for each grid, and the scales."""
        limit = ops.convert_to_numpy(self.limit(ops.convert_to_tensor(kernel)))
        top = 2 ** (self.bits - 1) - 1
        scale = (limit / top).astype("float32")
        flat = kernel.reshape(-1, *self.share.shape)
        steps = np.clip(np.round(flat / scale), -top, top).astype("float32") + 0.0  # no -0
        return (steps * scale).reshape(kernel.shape), scale

    def keep(self, kernel: np.ndarray, scale: np.ndarray) -> None:
        """Keeps the grid of a kernel that lies on it; what `on_grid` returns."""
        most = np.abs(kernel.reshape(-1, *self.share.shape)).max(axis=0)
        end = scale * (2 ** (self.bits - 1) - 1)
        self.share.assign(np.where(most > 0, end / np.maximum(most, SMALLEST), 1.0))

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "bits": self.bits, "per": self.per}


@keras.saving.register_keras_serializable(package="compress")
class Range(layers.Layer):
    """A tensor on a grid between `lo` and `hi`; any (batch, ...) to the same, in float32.

    In training both move towards the smallest and largest value of the batch, while `observing`.

    Args:
        bits: 4, 8 or 16. With 16 the grid is symmetric about 0, as integer kernels want it.
        ends: Both ends, where the integer kernel behind the tensor fixes them; `None` to learn.
        decay: Share of the old ends that a step of training keeps.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        lo: At most 0.
        hi: At least 0.
        observing: 1 while training moves the ends, else 0.
    """

    def __init__(
        self,
        bits: int = 8,
        *,
        ends: tuple[float, float] | None = None,
        decay: float = 0.99,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.autocast = False
        self.supports_masking = True
        self.bits = bits
        self.ends = None if ends is None else (float(ends[0]), float(ends[1]))
        self.decay = decay
        self.see: Any = None  # takes what passes, while ranges are calibrated

    def build(self, input_shape: Any) -> None:
        """Makes the ends."""
        lo, hi = self.ends or (0.0, 1.0)
        state = {"shape": (), "trainable": False, "aggregation": "mean"}
        constant = keras.initializers.Constant
        self.lo = self.add_weight(initializer=constant(lo), name="lo", **state)
        self.hi = self.add_weight(initializer=constant(hi), name="hi", **state)
        observing = constant(float(self.ends is None))
        self.observing = self.add_weight(initializer=observing, name="observing", **state)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Rounds a tensor."""
        x = ops.cast(inputs, "float32")
        if self.see is not None:
            self.see(ops.convert_to_numpy(x))
            return x
        if training and self.ends is None:
            rate = self.observing * (1 - self.decay)
            least, most = ops.stop_gradient(ops.min(x)), ops.stop_gradient(ops.max(x))
            self.lo.assign(self.lo + rate * (ops.minimum(least, 0.0) - self.lo))
            self.hi.assign(self.hi + rate * (ops.maximum(most, 0.0) - self.hi))
        lo, hi = self._limits()
        return keras.quantizers.fake_quant_with_min_max_vars(
            x, lo, hi, num_bits=self.bits, narrow_range=self.bits > 8
        )

    def step(self) -> float:
        """Returns the width of one step of the grid."""
        lo, hi = (float(ops.convert_to_numpy(end)) for end in self._limits())
        return (hi - lo) / (2**self.bits - 1 - (self.bits > 8))

    def _limits(self) -> tuple[Any, Any]:
        lo, hi = (ops.convert_to_tensor(end) for end in (self.lo, self.hi))
        if self.bits > 8:
            hi = ops.maximum(hi, -lo)
            lo = -hi
        return lo, ops.maximum(hi, lo + 2 * SMALLEST)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> keras.KerasTensor:
        """The input's shape."""
        return keras.KerasTensor(inputs.shape, "float32")

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        config = {"bits": self.bits, "ends": self.ends, "decay": self.decay}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="compress")
class RangedSilu(layers.Layer):
    """`x sigmoid(x)`, the sigmoid on its kernel's grid of 8 bits; any (batch, ...) to the same.

    Args:
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Multiplies."""
        gate = keras.quantizers.fake_quant_with_min_max_vars(
            ops.sigmoid(inputs), *FIXED["sigmoid"], num_bits=8
        )
        return inputs * gate

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        config: dict[str, Any] = super().get_config()
        return config

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """The input's shape."""
        return keras.KerasTensor(inputs.shape, "float32")


@keras.saving.register_keras_serializable(package="compress")
class Floats(layers.Layer):
    """What it reads, in floats to the next layer, in a file too; any tensors to the same.

    A converter makes integers of what reads integers, where it can: the mean within a layer
    normalisation, a sigmoid. It cannot where a product with a constant stands between; the constant
    is the float32 next to 1.

    Args:
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Multiplies; whole numbers stay as they are."""

        def kept(x: Any) -> Any:
            return x * (1 + 2.0**-23) if keras.backend.is_float_dtype(x.dtype) else x

        return keras.tree.map_structure(kept, inputs)

    def compute_output_spec(self, inputs: Any) -> Any:
        """The inputs' shapes and types."""
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)


def kernel_bits(layer: Any) -> int:
    """Returns the bits of a layer's kernel on a grid of integers; 0 where it is on none."""
    last = layer.chain[-1] if isinstance(layer, Parametrized) else None
    return last.bits if isinstance(last, KernelRange) else 0
