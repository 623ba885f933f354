"""The recurrent layers of PixelRNN: an LSTM whose state is a line of a picture.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, arXiv:1601.06759, section 3: the Row LSTM
runs down the rows; the Diagonal LSTM runs along the diagonals of a skewed picture.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import KerasTensor, layers, ops

TAPS = {"row": 3, "diagonal": 2}  # neighbours in the line before: left, own, right; above, own
HALF = ("bfloat16", "float16")


@keras.saving.register_keras_serializable(package="zoo")
class LineLSTMCell(layers.Layer):
    """One step: the gates of a line, and what the line before tells by a convolution along it.

    `o, f, i = sigmoid(x + K * h)`, `g = tanh(x + K * h)`, `c' = f c + i g`, `h' = o tanh(c')`, of
    four quarters of the channels in the order i, f, o, g. States are flat, because
    `keras.layers.RNN` takes vectors only: (batch, length * features).

    Args:
        length: Pixels of a line.
        features: Channels of the state.
        taps: Width of the convolution; a place sees those before it and, of 3, one behind it.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    kernel_names = ("kernel",)  # what compression works on

    def __init__(self, length: int, features: int, taps: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length, self.features, self.taps = length, features, taps
        self.state_size = [length * features, length * features]
        self.output_size = length * features

    def build(self, input_shape: Any) -> None:
        """Makes the kernel (taps, features, 4 features)."""
        shape = (self.taps, self.features, 4 * self.features)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")

    def call(self, inputs: KerasTensor, states: list[KerasTensor]) -> tuple[Any, list[Any]]:
        """Returns the state of the line, as the output and with the cells.

        Args:
            inputs: What the picture tells the gates, (batch, length * 4 features).
            states: The line before and its cells.
        """
        length, features = self.length, self.features
        before, cells = (ops.reshape(state, (-1, length, features)) for state in states)
        padded = ops.pad(before, [[0, 0], [1, self.taps - 2], [0, 0]])
        near = [padded[:, tap : tap + length] for tap in range(self.taps)]
        # A product of matrices: TensorFlow's narrow convolutions take several times as long.
        near = ops.reshape(ops.concatenate(near, axis=-1), (-1, self.taps * features))
        kernel = ops.reshape(self.kernel, (self.taps * features, 4 * features))
        told = ops.reshape(ops.matmul(near, kernel), (-1, length, 4 * features))
        gates = ops.reshape(inputs, (-1, length, 4 * features)) + told
        opened, fresh = gates[..., : 3 * features], gates[..., 3 * features :]
        i, f, o = ops.split(ops.sigmoid(opened), 3, axis=-1)
        cells = f * cells + i * ops.tanh(fresh)
        line = ops.reshape(o * ops.tanh(cells), (-1, length * features))
        return line, [line, ops.reshape(cells, (-1, length * features))]

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this cell again."""
        own = {"length": self.length, "features": self.features, "taps": self.taps}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="zoo")
class LineLSTM(layers.Layer):
    """An LSTM over a picture, from the first row to the last; no place sees what is behind it.

    `row`: the state of a place depends on three places of the row above. `diagonal`: on the place
    above and on the one to the left; with `reverse` on the one to the right, so that the place
    itself knows all of its row that is to the right: move its answer a row down.
    Each row is moved a pixel further than the one above, so that a diagonal is a column: by
    padding, cutting and reshaping.

    Shapes: gates (batch, height, width, 4 features) to (batch, height, width, features). The state
    is float32 under half precision too: it is carried through dozens of steps.

    Args:
        features: Channels of the state.
        along: What the state is.
        reverse: Whether diagonals run from right to left.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: Rows have no direction.
    """

    needs_float32 = True  # read by passes that would compute a layer in integers

    def __init__(
        self,
        features: int,
        *,
        along: Literal["row", "diagonal"] = "row",
        reverse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if along not in TAPS or (reverse and along == "row"):
            raise ValueError(
                f"LineLSTM: got along={along!r}, reverse={reverse}; expected row, or diagonal, "
                "which alone may be reversed."
            )
        self.features, self.along, self.reverse = features, along, reverse

    def build(self, input_shape: Any) -> None:
        """Makes the cell, whose line is a row, or a column of the skewed picture."""
        _, height, width, channels = input_shape
        if channels != 4 * self.features:
            raise ValueError(
                f"{self.name}: got {channels} channels; expected {4 * self.features}, four gates "
                f"for each of {self.features} features."
            )
        length = width if self.along == "row" else height
        steps = height if self.along == "row" else height + width - 1
        dtype = "float32" if self.compute_dtype in HALF else self.compute_dtype
        cell = LineLSTMCell(length, self.features, TAPS[self.along], name="cell", dtype=dtype)
        self.rnn = layers.RNN(cell, return_sequences=True, name="rnn", dtype=dtype)
        self.rnn.build((None, steps, length * channels))
        super().build(input_shape)

    @property
    def kernel(self) -> keras.Variable:
        """What a state tells the next one: (taps, features, 4 features)."""
        return self.rnn.cell.kernel

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        return ops.cast(self._run(inputs), self.compute_dtype)

    def _run(self, inputs: KerasTensor) -> KerasTensor:
        height, width = inputs.shape[1:3]
        if self.along == "row":
            lines = ops.reshape(inputs, (-1, height, width * inputs.shape[3]))
            return ops.reshape(self.rnn(lines), (-1, height, width, self.features))
        lines = ops.flip(inputs, axis=2) if self.reverse else inputs
        lines = ops.transpose(skewed(lines), (0, 2, 1, 3))  # (batch, steps, height, 4 features)
        steps = height + width - 1
        lines = self.rnn(ops.reshape(lines, (-1, steps, height * inputs.shape[3])))
        lines = ops.reshape(lines, (-1, steps, height, self.features))
        found = unskewed(ops.transpose(lines, (0, 2, 1, 3)), width)
        return ops.flip(found, axis=2) if self.reverse else found

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """A quarter of the channels."""
        return (*input_shape[:-1], self.features)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        own = {"features": self.features, "along": self.along, "reverse": self.reverse}
        return {**super().get_config(), **own}


def skewed(x: Any) -> Any:
    """Row i moves right by i: (batch, height, width, n) to (batch, height, height + width - 1, n).

    With `height` zeros behind each row, rows of one pixel less begin a pixel later each time.
    """
    height, width, channels = x.shape[1:]
    x = ops.pad(x, [[0, 0], [0, 0], [0, height], [0, 0]])
    x = ops.reshape(x, (-1, height * (width + height), channels))
    return ops.reshape(
        x[:, : height * (width + height - 1)], (-1, height, width + height - 1, channels)
    )


def unskewed(x: Any, width: int) -> Any:
    """The way back of `skewed`."""
    height, steps, channels = x.shape[1:]
    x = ops.pad(ops.reshape(x, (-1, height * steps, channels)), [[0, 0], [0, height], [0, 0]])
    return ops.reshape(x, (-1, height, steps + 1, channels))[:, :, :width]
