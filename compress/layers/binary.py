"""Kernels and activations of signs, trained straight through.

Sources: Courbariaux et al. 2015, BinaryConnect, arXiv:1511.00363; Courbariaux & Hubara et al. 2016,
BNN, arXiv:1602.02830; Rastegari et al. 2016, XNOR-Net, arXiv:1603.05279. With b = sign(w), where
sign(0) = 1, and L the loss:

    forward     binary_connect, bnn   b
                xnor                  a b, with a = mean |w| of the filter
    gradient    binary_connect        dL/dw = dL/db, and w is clipped to [-1, 1] after the step
                bnn, xnor             dL/dw = dL/db where |w| <= 1, else 0; xnor adds dL/da da/dw
    activation  bnn, xnor             sign(x); dL/dx = dL/dsign where |x| <= 1, else 0

Differs: XNOR-Net's factor K for the inputs is left out, which costs it less than a point by its
section 4.3; the gradient of its a is the exact one.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from compress.layers.parametrized import Parametrization

METHODS = ("binary_connect", "bnn", "xnor")


@keras.saving.register_keras_serializable(package="compress")
class Binary(Parametrization):
    """Signs in place of weights.

    Args:
        method: One of `METHODS`.
        axis: Axis of the filters in the kernel.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, method: str = "xnor", *, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if method not in METHODS:
            raise ValueError(f"Binary: method got {method!r}; expected one of {METHODS}.")
        self.method = method
        self.axis = axis
        self.constraint = _clip if method == "binary_connect" else None

    def call(self, kernel: Any) -> Any:
        """Makes signs of a kernel."""
        if self.method == "binary_connect":
            return with_gradient_of(kernel, _sign(kernel))
        signs = straight_through(kernel)
        if self.method == "bnn":
            return signs
        rank = len(kernel.shape)
        others = tuple(i for i in range(rank) if i != self.axis % rank)
        return ops.mean(ops.abs(kernel), axis=others, keepdims=True) * signs

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "method": self.method, "axis": self.axis}


@keras.saving.register_keras_serializable(package="compress")
class BinaryActivation(layers.Layer):
    """`sign(x)`, any (batch, ...) to the same; it stays in a model for good.

    Args:
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Takes the signs."""
        return straight_through(inputs)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        config: dict[str, Any] = super().get_config()
        return config


def straight_through(x: Any) -> Any:
    """Returns sign(x), whose gradient is 1 where |x| <= 1, else 0."""
    return with_gradient_of(ops.clip(x, -1.0, 1.0), _sign(x))


def with_gradient_of(x: Any, value: Any) -> Any:
    """Returns `value` exactly, with the gradient of x."""
    return ops.stop_gradient(value) + (x - ops.stop_gradient(x))


def _sign(x: Any) -> Any:
    return ops.where(x >= 0, ops.ones_like(x), -ops.ones_like(x))


def _clip(kernel: Any) -> Any:
    return ops.clip(kernel, -1.0, 1.0)
