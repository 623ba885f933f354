"""Kernels of three values, trained straight through.

Sources: Li, Zhang & Liu 2016, Ternary weight networks, arXiv:1605.04711, eqs. 5 and 6; Zhu, Han,
Mao & Dally 2017, Trained ternary quantization, arXiv:1612.01064, eqs. 6 to 9. With d the threshold:

    twn     t = a sign(w) where |w| > d, else 0; d = 0.7 mean |w|, a = mean of |w| above d
            dL/dw = dL/dt
    ttq     t = p where w > d, -n where w < -d, else 0; d = 0.05 max |w|; p and n learn
            dL/dw = p dL/dt where t = p, n dL/dt where t = -n, else dL/dt
            dL/dp = sum of dL/dt where t = p, dL/dn = minus its sum where t = -n

Differs: p and n start as the means of |w| on their sides.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from compress.layers.binary import with_gradient_of
from compress.layers.parametrized import Parametrization

THRESHOLDS = {"twn": 0.7, "ttq": 0.05}


@keras.saving.register_keras_serializable(package="compress")
class Ternary(Parametrization):
    """Three values in place of weights, one of them 0.

    Args:
        method: `twn` or `ttq`.
        threshold: Factor of the mean magnitude (`twn`) or of the largest (`ttq`); `None` is the
            paper's.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        scales: (2,), p and n of `ttq`, which learn.
    """

    def __init__(
        self, method: str = "ttq", *, threshold: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if method not in THRESHOLDS:
            raise ValueError(f"Ternary: method got {method!r}; expected one of {[*THRESHOLDS]}.")
        self.method = method
        self.threshold = THRESHOLDS[method] if threshold is None else threshold

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the scales of `ttq`."""
        if self.method == "ttq":
            self.scales = self.add_weight(shape=(2,), initializer="ones", name="scales")

    def read(self, kernel: np.ndarray) -> None:
        """Starts the scales of `ttq` from a kernel."""
        if self.method == "ttq":
            limit = self.threshold * np.abs(kernel).max()
            sides = (kernel[kernel > limit], -kernel[kernel < -limit])
            self.scales.assign([side.mean() if side.size else 1.0 for side in sides])

    def call(self, kernel: Any) -> Any:
        """Makes three values of a kernel."""
        size = ops.abs(kernel)
        if self.method == "twn":
            large = ops.cast(size > self.threshold * ops.mean(size), kernel.dtype)
            scale = ops.sum(size * large) / ops.maximum(ops.sum(large), 1.0)
            return with_gradient_of(kernel, scale * ops.sign(kernel) * large)
        limit = self.threshold * ops.max(size)
        above, below = (ops.cast(side > limit, kernel.dtype) for side in (kernel, -kernel))
        positive, negative = self.scales[0], self.scales[1]
        ternary = positive * above - negative * below
        slope = ops.stop_gradient(positive * above + negative * below + (1 - above - below))
        return ternary + slope * (kernel - ops.stop_gradient(kernel))

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "method": self.method, "threshold": self.threshold}
