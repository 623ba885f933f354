"""Parts of restricted Boltzmann machines: what hidden units send down, their pools, their chains.

Sources: Hinton, Osindero & Teh 2006, Neural Computation 18(7), section 4 (generative connections
that are tied to those of recognition while a layer learns); Lee, Grosse, Ranganath & Ng 2009, ICML,
section 3.3 (probabilistic max-pooling); Tieleman 2008, ICML (chains that persist).
"""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import checks


class _Visible(layers.Layer):
    """A bias that learns, and a copy of what the hidden units above see by, which does not."""

    def __init__(self, *, activation: str | None = "sigmoid", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def _weights(self, kernel: tuple[int, ...], bias: int, hidden: int) -> None:
        """Makes them; what does not learn is zeros until a machine has learnt."""
        self.kernel = self.add_weight(
            shape=kernel, initializer="zeros", trainable=False, name="kernel"
        )
        self.bias = self.add_weight(shape=(bias,), initializer="zeros", name="bias")
        self.hidden_bias = self.add_weight(
            shape=(hidden,), initializer="zeros", trainable=False, name="hidden_bias"
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
        }


@keras.saving.register_keras_serializable(package="zoo")
class VisibleUnits(_Visible):
    """The means of visible units, given the hidden ones.

    Shapes: (batch, hidden) to (batch, units). `bias` (units,) learns. `kernel` (hidden, units) and
    `hidden_bias` (hidden,) do not: they are the hidden units', transposed, set from outside.

    Args:
        units: Number of visible units, at least 1.
        activation: `sigmoid` for units of 0 and 1; `None` for Gaussian ones.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `units` is below 1.
    """

    def __init__(self, units: int, *, activation: str | None = "sigmoid", **kwargs: Any) -> None:
        super().__init__(activation=activation, **kwargs)
        self.units = checks.whole(units, "VisibleUnits: units")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights."""
        hidden = int(input_shape[-1] or 0)
        self._weights((hidden, self.units), self.units, hidden)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps (batch, hidden) to (batch, units)."""
        return self.activation(ops.matmul(inputs, self.kernel) + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="zoo")
class VisibleMaps(_Visible):
    """The means of visible maps, given the hidden ones: the transpose of a convolution.

    Shapes: (batch, rows, columns, hidden) to (batch, rows + size - 1, columns + size - 1,
    channels). `bias` (channels,) learns. `kernel` (size, size, channels, hidden) and `hidden_bias`
    (hidden,) do not: they are those of the convolution, set from outside.

    Args:
        channels: Number of visible maps, at least 1.
        size: Side of the kernel, at least 1.
        activation: `sigmoid` for units of 0 and 1; `None` for Gaussian ones.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is below 1.
    """

    def __init__(
        self, channels: int, size: int, *, activation: str | None = "sigmoid", **kwargs: Any
    ) -> None:
        super().__init__(activation=activation, **kwargs)
        self.channels = checks.whole(channels, "VisibleMaps: channels")
        self.size = checks.whole(size, "VisibleMaps: size")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights."""
        hidden = int(input_shape[-1] or 0)
        self._weights((self.size, self.size, self.channels, hidden), self.channels, hidden)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps (batch, rows, columns, hidden) to the larger maps."""
        total = ops.conv_transpose(inputs, self.kernel, strides=1, padding="valid")
        return self.activation(total + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, rows + size - 1, columns + size - 1, channels)."""
        sides = [None if side is None else side + self.size - 1 for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.channels)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "channels": self.channels, "size": self.size}


@keras.saving.register_keras_serializable(package="zoo")
class ProbabilisticMaxPooling2D(layers.Layer):
    """The probability that a block of units, at most one of which is on, is not off.

    Shapes: (batch, rows, columns, channels), what the units are sent, to (batch, rows / pool_size,
    columns / pool_size, channels). It is sum(exp(x)) / (1 + sum(exp(x))) over the block: the
    softmax over the block has one more state, that of no unit being on.

    Args:
        pool_size: Side of a block, at least 1; 1 is a sigmoid.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `pool_size` is below 1, or does not divide the sides.
    """

    def __init__(self, pool_size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = checks.whole(pool_size, "ProbabilisticMaxPooling2D: pool_size")

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Pools (batch, rows, columns, channels)."""
        self.compute_output_shape(inputs.shape)  # refuses a rest
        step = self.pool_size
        parts = [inputs[:, i::step, j::step] for i in range(step) for j in range(step)]
        largest = ops.stop_gradient(functools.reduce(ops.maximum, parts))
        total = functools.reduce(ops.add, [ops.exp(part - largest) for part in parts])
        return ops.sigmoid(largest + ops.log(total))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, rows / pool_size, columns / pool_size, channels)."""
        sides = []
        for side in input_shape[1:3]:
            if side is not None and side % self.pool_size:
                raise ValueError(
                    f"ProbabilisticMaxPooling2D: got maps {tuple(input_shape[1:3])}; expected sides"
                    f" that are multiples of pool_size, {self.pool_size}."
                )
            sides.append(None if side is None else side // self.pool_size)
        return (input_shape[0], *sides, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "pool_size": self.pool_size}


@keras.saving.register_keras_serializable(package="zoo")
class Chains(layers.Layer):
    """What a machine remembers from step to step: its chains, and how active its units are.

    Shapes: (batch, chains), 1 at the chain of an example and 0 elsewhere, to the states of the
    hidden units in these chains, (batch, units). `states` (chains, units) and `activity` (units,)
    do not learn; who runs the chains sets them. On several devices each gives its rows of the
    states, zeros elsewhere, and its own activity: they become the sum, and the mean.

    Args:
        units: Number of hidden units, at least 1.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `units` is below 1.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = checks.whole(units, "Chains: units")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the memory, of zeros."""
        options: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        shape = (int(input_shape[-1] or 0), self.units)
        self.states = self.add_weight(shape=shape, aggregation="sum", name="states", **options)
        self.activity = self.add_weight(
            shape=(self.units,), aggregation="mean", name="activity", **options
        )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Maps (batch, chains) to (batch, units)."""
        return ops.matmul(inputs, self.states)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "units": self.units}
