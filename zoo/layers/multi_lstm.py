"""A multi-dimensional LSTM over a picture: what a place knows comes from above and from the side.

Source: Graves, Fernandez & Schmidhuber 2007, Multi-dimensional recurrent neural networks,
arXiv:0705.2011, section 2.2; Graves & Schmidhuber 2008, Offline handwriting recognition with
multidimensional recurrent neural networks, NIPS 21. A forget gate for each of the two neighbours.
Differs: no peepholes. A diagonal is computed at once, as in `zoo.layers.line_lstm`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers, ops

from zoo.layers.line_lstm import HALF, skewed, unskewed

GATES = 5  # in, forget above, forget beside, out, fresh


@keras.saving.register_keras_serializable(package="zoo")
class MultiLSTMCell(layers.Layer):
    """One step: a diagonal of a picture, from the one before.

    `c = i g + f_above c_above + f_beside c_beside`, `h = o tanh(c)`; each gate is told by the
    picture and by the states of both neighbours. States are flat, because `keras.layers.RNN` takes
    vectors only: (batch, length * features).

    Args:
        length: Places of a diagonal, the picture's height.
        features: Channels of the state.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    kernel_names = ("kernel",)  # what compression works on

    def __init__(self, length: int, features: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length, self.features = length, features
        self.state_size = [length * features, length * features]
        self.output_size = length * features

    def build(self, input_shape: Any) -> None:
        """Makes the kernel (2 features, 5 features), of the place above and of the one beside."""
        shape = (2 * self.features, GATES * self.features)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")

    def call(self, inputs: KerasTensor, states: list[KerasTensor]) -> tuple[Any, list[Any]]:
        """Returns the state of the diagonal, as the output and with the cells.

        Args:
            inputs: What the picture tells the gates, (batch, length * 5 features).
            states: The diagonal before and its cells.
        """
        length, features = self.length, self.features
        line, cells = (ops.reshape(state, (-1, length, features)) for state in states)
        # On the diagonal before, a row's own place is beside it, that of the row above is above.
        above, cells_above = (
            ops.pad(one, [[0, 0], [1, 0], [0, 0]])[:, :length] for one in (line, cells)
        )
        near = ops.reshape(ops.concatenate([above, line], axis=-1), (-1, 2 * features))
        told = ops.reshape(ops.matmul(near, self.kernel), (-1, length, GATES * features))
        gates = ops.reshape(inputs, (-1, length, GATES * features)) + told
        opened, fresh = gates[..., : 4 * features], gates[..., 4 * features :]
        i, up, side, o = ops.split(ops.sigmoid(opened), 4, axis=-1)
        cells = i * ops.tanh(fresh) + up * cells_above + side * cells
        line = ops.reshape(o * ops.tanh(cells), (-1, length * features))
        return line, [line, ops.reshape(cells, (-1, length * features))]

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this cell again."""
        return {**super().get_config(), "length": self.length, "features": self.features}


@keras.saving.register_keras_serializable(package="zoo")
class MultiLSTM(layers.Layer):
    """An LSTM over a picture from one of its corners; a place knows all between it and the corner.

    Shapes: gates (batch, height, width, 5 features) to (batch, height, width, features). The state
    is float32 under half precision too.

    Args:
        features: Channels of the state.
        upwards: Whether it begins below.
        leftwards: Whether it begins at the right.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    needs_float32 = True  # read by passes that would compute a layer in integers

    def __init__(
        self, features: int, *, upwards: bool = False, leftwards: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.features, self.upwards, self.leftwards = features, upwards, leftwards

    def build(self, input_shape: Any) -> None:
        """Makes the cell.

        Raises:
            ValueError: There are not five gates for each feature.
        """
        _, height, width, channels = input_shape
        if channels != GATES * self.features:
            raise ValueError(
                f"{self.name}: got {channels} channels; expected {GATES * self.features}, {GATES} "
                f"gates for each of {self.features} features."
            )
        dtype = "float32" if self.compute_dtype in HALF else self.compute_dtype
        cell = MultiLSTMCell(height, self.features, name="cell", dtype=dtype)
        self.rnn = layers.RNN(cell, return_sequences=True, name="rnn", dtype=dtype)
        self.rnn.build((None, height + width - 1, height * channels))
        super().build(input_shape)

    @property
    def kernel(self) -> keras.Variable:
        """What neighbours tell a place: (2 features, 5 features)."""
        return self.rnn.cell.kernel

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        height, width, channels = inputs.shape[1:]
        axes = [axis for axis, turned in ((1, self.upwards), (2, self.leftwards)) if turned]
        x = ops.flip(inputs, axis=axes) if axes else inputs
        x = ops.transpose(skewed(x), (0, 2, 1, 3))  # (batch, diagonals, height, 5 features)
        steps = height + width - 1
        x = self.rnn(ops.reshape(x, (-1, steps, height * channels)))
        x = ops.reshape(x, (-1, steps, height, self.features))
        x = unskewed(ops.transpose(x, (0, 2, 1, 3)), width)
        return ops.cast(ops.flip(x, axis=axes) if axes else x, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """A fifth of the channels."""
        return (*input_shape[:-1], self.features)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        own = {"features": self.features, "upwards": self.upwards, "leftwards": self.leftwards}
        return {**super().get_config(), **own}
