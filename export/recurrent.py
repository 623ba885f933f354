"""Recurrent layers as a format wants them: one operator, unrolled, or the loop that Keras traces.

A loop runs in every format, but converters crash on it in integers, and one operator is smaller and
faster. Keras has no setting for it: this module puts a hook on its recurrent layers, once, for
good. It acts in a block of `written_as`, in the thread that is in it, and does nothing elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from export.names import called
from zoo.common.unrolled import LONGEST

# Given the layer, (batch, time, features), the states and the mask: the last output, all outputs
# and the new states; or `None`, where it has to be as Keras does it.
Writer: TypeAlias = Callable[[Any, tf.Tensor, Any, Any], Any]

_WRITER: ContextVar[Writer | None] = ContextVar("how recurrent layers are written", default=None)


@contextlib.contextmanager
def written_as(writer: Writer | None) -> Iterator[None]:
    """Traces recurrent layers by `writer`; by `None` as Keras does."""
    token = _WRITER.set(writer)
    try:
        yield
    finally:
        _WRITER.reset(token)


def unrolled(layer: Any, inputs: tf.Tensor, states: Any, mask: Any) -> Any:
    """A `Writer`: the steps of each layer one after another, without a loop.

    Raises:
        RuntimeError: There are too many steps, or their number is not known.
    """
    length = inputs.shape[1]
    if length is None or length > LONGEST:
        error: Any = RuntimeError(
            f"recurrent layer {called(layer)!r} has to be unrolled here, and reads "
            f"{'any number of' if length is None else length} places; expected {LONGEST} at most. "
            "Export one step of it with its states as inputs and outputs, or to onnx."
        )
        error._keras_call_info_injected = True  # or Keras adds lines of its own
        raise error
    was, layer.unroll = layer.unroll, True
    try:
        return type(layer).inner_loop(layer, inputs, states, mask)
    finally:
        layer.unroll = was


def fused(layer: Any, inputs: tf.Tensor, states: Any, mask: Any) -> Any:
    """A `Writer`: an LSTM as the one operator of TFLite, where it can be.

    It can where the batch and the length are known, nothing is masked, the activations are those of
    the paper, and nobody gives or reads its states. TFLite's converter finds it by the attribute
    of a function, which Keras 2 set; its arguments and results are those of Keras 2 too.
    """
    if not isinstance(layer, keras.layers.LSTM) or not is_standard(layer, mask):
        return None
    known = tf.TensorShape(inputs.shape).is_fully_defined()
    if not known or layer.return_state or not all(map(_is_zero, states)):
        return None
    kernel, recurrent, bias = _weights(layer)
    if layer.go_backwards:
        inputs = tf.reverse(inputs, [1])
    last, every, *_ = _standard_lstm()(inputs, *states, kernel, recurrent, bias)
    return last, every, states  # the operator does not give the states out


def fused_or_unrolled(layer: Any, inputs: tf.Tensor, states: Any, mask: Any) -> Any:
    """A `Writer`: what is not `fused` is `unrolled`."""
    return fused(layer, inputs, states, mask) or unrolled(layer, inputs, states, mask)


def _standard_lstm() -> Any:
    """A function that TFLite's converter replaces: of inputs, states, kernels and bias.

    Gates stand in the order i f c o. Each call needs a function of its own.
    """

    def body(
        inputs: tf.Tensor, h: tf.Tensor, c: tf.Tensor, kernel: Any, recurrent: Any, bias: Any
    ) -> tuple[tf.Tensor, ...]:
        every = []
        for x in tf.unstack(inputs, axis=1):
            i, f, fresh, o = tf.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(fresh)
            h = tf.sigmoid(o) * tf.tanh(c)
            every.append(h)
        return h, tf.stack(every, axis=1), h, c, tf.constant(1.0)

    attributes = {
        "api_implements": f"lstm_{uuid.uuid4()}",
        "api_preferred_device": "CPU",
        "time_major": False,
        "go_backwards": False,
    }
    return tf.function(body, autograph=False, experimental_attributes=attributes)


class Cells(NamedTuple):
    """A recurrent layer of an ONNX file.

    Attributes:
        operator: `LSTM`, `GRU` or `RNN`.
        arrays: W (1, gates * units, features), R (1, gates * units, units), B (1, 2 * gates *
            units), with ONNX's order of gates; of an LSTM whose gates look into its cells also
            P (1, 3 * units).
        attributes: Of the operator.
        states: Whether states are given; otherwise they are zero.
    """

    operator: str
    arrays: tuple[np.ndarray, ...]
    attributes: dict[str, Any]
    states: bool


MARK = "CudnnRNNV3"
_MODES = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}


def marked(found: list[Cells]) -> Writer:
    """Returns a `Writer` that leaves an operator in the graph that stands for one of ONNX.

    It is TensorFlow's for GPUs, which no converter knows, with the place of the layer in `found` as
    its seed. What ONNX has no operator for is as Keras does it.

    Args:
        found: The layers, which are added.
    """

    def writer(layer: Any, inputs: tf.Tensor, states: Any, mask: Any) -> Any:
        if not is_standard(layer, mask):
            return None
        values = [tf.get_static_value(one) for one in _weights(layer)]
        if any(value is None for value in values):
            return None
        given = not all(map(_is_zero, states))
        cells = _cells(layer, *values)._replace(states=given)
        if _peephole(layer.cell) is not None:
            value = tf.get_static_value(_tensor(_peephole(layer.cell)))
            if value is None:
                return None
            i, f, o = value.astype("float32")
            cells = cells._replace(arrays=(*cells.arrays, np.concatenate([i, o, f])[None]))
        x = tf.transpose(inputs, (1, 0, 2))  # (time, batch, features)
        if layer.go_backwards:
            x = tf.reverse(x, [0])
        lengths = tf.fill([tf.shape(x)[1]], tf.shape(x)[0])
        every, *last, _, _ = tf.raw_ops.CudnnRNNV3(
            input=x,
            input_h=states[0][None],
            input_c=states[-1][None] if cells.operator == "LSTM" else tf.zeros(()),
            params=tf.zeros((1,)),
            sequence_lengths=lengths,
            rnn_mode=_MODES[cells.operator],
            seed=len(found),
            is_training=False,
        )
        found.append(cells)
        last = [one[0] for one in last[: len(states)]]  # (batch, units) each
        return last[0], tf.transpose(every, (1, 0, 2)), last

    return writer


def _cells(layer: Any, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> Cells:
    """A layer in the terms of ONNX."""
    units = recurrent.shape[0]
    attributes: dict[str, Any] = {"hidden_size": units}
    operator, order, biases = "RNN", [0], [bias, np.zeros_like(bias)]
    if isinstance(layer.cell, keras.layers.LSTMCell):
        operator, order = "LSTM", [0, 3, 1, 2]  # i o f c of i f c o
    elif isinstance(layer.cell, keras.layers.GRUCell):
        operator, order = "GRU", [0, 1, 2]  # z r h in both
        attributes["linear_before_reset"] = int(layer.cell.reset_after)
        if layer.cell.reset_after:
            biases = list(bias)
    elif layer.cell.activation is keras.activations.relu:
        attributes["activations"] = ["Relu"]

    def turned(array: np.ndarray) -> np.ndarray:
        gates = np.split(array, len(order), axis=-1)
        return np.concatenate([gates[place] for place in order], axis=-1).T.astype("float32")

    both = np.concatenate([turned(one) for one in biases])
    arrays = turned(kernel)[None], turned(recurrent)[None], both[None]
    return Cells(operator, arrays, attributes, states=False)


def is_standard(layer: Any, mask: Any = None) -> bool:
    """Whether a layer is one of Keras' three, or an LSTM with peepholes, as the papers have them.

    Their activations are the papers', and every place is read.

    Args:
        layer: Recurrent.
        mask: Which places are real, or `None`; of several inputs a list.
    """
    cell = layer.cell
    if any(one is not None for one in keras.tree.flatten(mask)):
        return False
    tanh, sigmoid = keras.activations.tanh, keras.activations.sigmoid
    if type(cell) in (keras.layers.LSTMCell, keras.layers.GRUCell) or _peephole(cell) is not None:
        return cell.activation is tanh and cell.recurrent_activation is sigmoid
    relu = keras.activations.relu
    return type(cell) is keras.layers.SimpleRNNCell and cell.activation in (tanh, relu)


def _weights(layer: Any) -> list[tf.Tensor]:
    """Kernel, recurrent kernel and bias, as tensors: a variable is no weight to the converter."""
    cell = layer.cell
    kernel, recurrent = _tensor(cell.kernel), _tensor(cell.recurrent_kernel)
    if cell.use_bias:
        return [kernel, recurrent, _tensor(cell.bias)]
    both = isinstance(cell, keras.layers.GRUCell) and cell.reset_after
    width = kernel.shape[-1]
    return [kernel, recurrent, tf.zeros((2, width) if both else (width,))]


def _tensor(variable: Any) -> tf.Tensor:
    return tf.convert_to_tensor(keras.ops.convert_to_tensor(variable))


def _peephole(cell: Any) -> Any:
    """What the gates i, f and o of an LSTM see of its cells, (3, units); `None` where nothing."""
    return getattr(cell, "peephole", None) if isinstance(cell, keras.layers.LSTMCell) else None


def _is_zero(state: tf.Tensor) -> bool:
    """Whether a state is zero in every example, whatever their number."""
    value = tf.get_static_value(state)
    if value is None and state.op.type == "Fill":
        value = tf.get_static_value(state.op.inputs[1])
    return value is not None and not np.any(value)


def _hooked(usual: Any) -> Any:
    @functools.wraps(usual)
    def inner_loop(
        layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        writer = _WRITER.get()
        if writer is not None and not layer.unroll:
            found = writer(layer, sequences, initial_state, mask)
            if found is not None:
                return found
        return usual(layer, sequences, initial_state, mask, training=training)

    return inner_loop


for _kind in (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU):
    _kind.inner_loop = _hooked(_kind.inner_loop)
