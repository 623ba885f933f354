"""An LSTM whose gates look into its cells.

Sources: Gers & Schmidhuber 2000, Recurrent nets that time and count, IJCNN; Graves 2013, Generating
sequences with recurrent neural networks, arXiv:1308.0850, equations 7 to 11:

    i = sigmoid(x W_i + h R_i + p_i c + b_i)        c' = f c + i tanh(x W_c + h R_c + b_c)
    f = sigmoid(x W_f + h R_f + p_f c + b_f)        o = sigmoid(x W_o + h R_o + p_o c' + b_o)
    h' = o tanh(c')

p_i, p_f and p_o are vectors: each gate sees its own cell alone. The output gate sees the new cell.
Differs: gradients flow through all of it, as Graves has them; Gers & Schmidhuber cut them.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops


@keras.saving.register_keras_serializable(package="zoo")
class PeepholeLSTMCell(layers.LSTMCell):
    """One step, as `keras.layers.LSTMCell` takes it; `peephole` (3, units) is of i, f and o."""

    def build(self, input_shape: Any) -> None:
        """Makes the weights; peepholes begin small, so that a fresh cell is nearly an LSTM's.

        Raises:
            ValueError: A share is to be left out.
        """
        if self.dropout or self.recurrent_dropout:
            raise ValueError(
                f"{self.name}: got dropout {self.dropout} and recurrent_dropout "
                f"{self.recurrent_dropout}; expected 0 for both. Put a Dropout before the layer."
            )
        super().build(input_shape)
        small = keras.initializers.RandomUniform(-0.1, 0.1, seed=self.seed)
        self.peephole = self.add_weight((3, self.units), initializer=small, name="peephole")

    def call(
        self, inputs: KerasTensor, states: list[KerasTensor], training: bool = False
    ) -> tuple[KerasTensor, list[KerasTensor]]:
        """Returns the output (batch, units), and it with the new cells.

        Args:
            inputs: (batch, features).
            states: The output and the cells before, (batch, units) each.
            training: Makes no difference.
        """
        h, c = states
        gates = ops.matmul(inputs, self.kernel) + ops.matmul(h, self.recurrent_kernel)
        if self.use_bias:
            gates = gates + self.bias
        i, f, fresh, o = ops.split(gates, 4, axis=1)
        of_i, of_f, of_o = ops.unstack(self.peephole, 3)
        i = self.recurrent_activation(i + of_i * c)
        f = self.recurrent_activation(f + of_f * c)
        c = f * c + i * self.activation(fresh)
        h = self.recurrent_activation(o + of_o * c) * self.activation(c)
        return h, [h, c]


@keras.saving.register_keras_serializable(package="zoo")
class PeepholeLSTM(layers.RNN):
    """An LSTM with peepholes, over whole sequences, as `keras.layers.LSTM` is called.

    Shapes: (batch, time, features), with or without a mask, to (batch, units), or to (batch, time,
    units) with `return_sequences`.

    Args:
        units: Units of the output, and cells.
        activation: See `keras.layers.LSTM`, as all of these.
        recurrent_activation: Of the gates.
        use_bias: Whether gates and cells have biases.
        seed: Of the fresh peepholes.
        **kwargs: Keyword arguments of `keras.layers.RNN`.
    """

    def __init__(
        self,
        units: int,
        *,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = PeepholeLSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            seed=seed,
            dtype=kwargs.get("dtype"),
            name="cell",
        )
        super().__init__(cell, **kwargs)

    @property
    def units(self) -> int:
        """Units of the output."""
        return int(self.cell.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        config, cell = super().get_config(), self.cell.get_config()
        del config["cell"]
        names = ("units", "activation", "recurrent_activation", "use_bias", "seed")
        return config | {name: cell[name] for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PeepholeLSTM:
        """Builds the layer again."""
        return cls(**config)
