"""Locally connected layers: filters as in a convolution, but others at each place.

Source: LeCun 1989, Generalization and network design strategies, CRG-TR-89-4, net 3; Ranzato's
tutorial at CVPR 2014 counts their weights. Keras had such layers up to version 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, initializers, layers, ops

from zoo.layers import checks, windows


class _LocallyConnected(layers.Layer):
    """What both ranks share: windows over maps of two axes, and a filter for each window."""

    rank = 2

    kernel_names = ("kernel",)  # what compression works on

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        *,
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        self.filters = checks.whole(filters, f"{name}: filters")
        self.kernel_size = self._sizes(kernel_size, "kernel_size")
        self.strides = self._sizes(strides, "strides")
        self.padding = checks.padding(padding, name)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes a kernel for each place.

        The kernel's last axis counts all units, so that a unit's weights lie along the others, as
        in `Conv2D`: He's variance comes out right, and so does a bound on the norm of a unit.
        """
        places = self.compute_output_shape(input_shape)[1:-1]
        channels = input_shape[-1]
        if None in places or channels is None:
            raise ValueError(
                f"{type(self).__name__}: got the shape {tuple(input_shape)}; every place has "
                "weights of its own. Give the input a fixed size."
            )
        units = math.prod(places) * self.filters
        self.kernel = self.add_weight(
            shape=(*self.kernel_size[2 - self.rank :], channels, units),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(units,), initializer="zeros", name="bias")

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Applies at each place its own filters."""
        shape = self.compute_output_shape(inputs.shape)
        maps = inputs if self.rank == 2 else inputs[:, None]
        x = windows.patches(maps, self.kernel_size, self.strides, self.padding)
        places, inside = math.prod(shape[1:-1]), x.shape[-1]
        x = ops.reshape(x, (-1, places, inside))
        kernel = ops.reshape(self.kernel, (inside, places, self.filters))
        x = ops.einsum("bpi,ipf->bpf", x, kernel)
        if self.use_bias:
            x = x + ops.reshape(self.bias, (places, self.filters))
        return self.activation(ops.reshape(x, (-1, *shape[1:])))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, places along each axis, filters)."""
        name = type(self).__name__
        if len(input_shape) != self.rank + 2:
            raise ValueError(
                f"{name}: got the shape {tuple(input_shape)}; expected {self.rank + 2} axes."
            )
        first = 2 - self.rank
        sizes = (
            windows.count(size, self.kernel_size[i], self.strides[i], self.padding, name)
            for i, size in enumerate(input_shape[1:-1], start=first)
        )
        return (input_shape[0], *sizes, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size[2 - self.rank :],
            "strides": self.strides[2 - self.rank :],
            "padding": self.padding,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }

    def _sizes(self, value: Any, key: str) -> windows.Pair:
        """The sizes along both axes; a layer over one axis has maps of height 1."""
        name = f"{type(self).__name__}: {key}"
        if self.rank == 2:
            return checks.pair(value, name)
        single = isinstance(value, (tuple, list)) and len(value) == 1
        return 1, checks.whole(value[0] if single else value, name)


@keras.saving.register_keras_serializable(package="zoo")
class LocallyConnected2D(_LocallyConnected):
    """A convolution whose filters differ from place to place.

    Shapes: (batch, height, width, channels) to (batch, rows, columns, filters), in the order of
    `Conv2D`. `kernel` is (window height, window width, channels, rows * columns * filters); `bias`
    has one number for each unit too. Height and width must be known.

    Args:
        filters: Units at each place.
        kernel_size: Height and width of the window; one number for both.
        strides: Step from one window to the next; one number for both.
        padding: `valid`, or `same` with zeros around.
        activation: As in `Conv2D`.
        use_bias: Whether to add a bias.
        kernel_initializer: As in `Conv2D`; Glorot's would count the units of all places.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1, the padding is unknown, or the windows do not fit.
    """


@keras.saving.register_keras_serializable(package="zoo")
class LocallyConnected1D(_LocallyConnected):
    """A convolution over steps, whose filters differ from step to step.

    Shapes: (batch, steps, channels) to (batch, places, filters). `kernel` is (window, channels,
    places * filters). The number of steps must be known. Arguments and errors: those of
    `LocallyConnected2D`, with one number in place of two.
    """

    rank = 1
