"""One step of a recurrent network: a token and the states in, the answer and the new states out.

A network that learns reads whole windows, one loop for each layer. What is deployed reads one token
at a time: no loop in the file, any length of text, and integers of 8 bits, which converters give
no loop. The step's outputs are `logits` and, for each state `lstm1_h`, `next_lstm1_h`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from zoo.common.tensors import LOGITS, NEXT, TOKENS
from zoo.layers.peephole_lstm import PeepholeLSTM, PeepholeLSTMCell

STATES = {
    layers.LSTM: ("h", "c"),
    layers.GRU: ("h",),
    layers.SimpleRNN: ("h",),
    PeepholeLSTM: ("h", "c"),
}
CELLS = {
    layers.LSTM: layers.LSTMCell,
    layers.GRU: layers.GRUCell,
    layers.SimpleRNN: layers.SimpleRNNCell,
    PeepholeLSTM: PeepholeLSTMCell,
}
POINTWISE = (
    layers.Activation,
    layers.BatchNormalization,
    layers.Dense,
    layers.LayerNormalization,
    layers.LeakyReLU,
    layers.ReLU,
)
"""Layers that treat each place of a window by itself, and so one step like a window."""


def is_step(net: keras.Model) -> bool:
    """Whether a model reads states beside its tokens."""
    return len(net.inputs) > 1


def states(step: keras.Model) -> dict[str, int]:
    """Returns the number of units of each state, by name; none, of a model that is no step."""
    new = set(step.output if isinstance(step.output, dict) else ())
    return {x.name: x.shape[-1] for x in step.inputs if NEXT + x.name in new}


def has_step(net: keras.Model) -> bool:
    """Whether a model is a step, or has recurrent layers, of which a step is made."""
    return is_step(net) or any(type(layer) in CELLS for layer in net.layers)


def step_of(net: keras.Model) -> keras.Model:
    """Returns one step of a network of windows, with copies of its weights.

    Args:
        net: A chain of an embedding, LSTM, GRU or simple recurrent layers, and layers that treat
            each place by itself: `tokens` (batch, time) to (batch, time, units). Dropout is left
            out. A model that is a step already is returned as it is.

    Returns:
        A model called as `net`: `tokens` (batch, 1) and the states (batch, units) to a mapping of
        `logits` (batch, units) and the new states.

    Raises:
        ValueError: The network is no such chain.
    """
    if is_step(net):
        return net
    inputs = {TOKENS: keras.Input((1,), dtype="int32", name=TOKENS)}
    outputs: dict[str, Any] = {}
    x, before = inputs[TOKENS], net.inputs[0]
    for layer in net.layers[1:]:
        if layer.input is not before:
            raise _refused(net, layer, "does not read what the layer before it gives")
        before = layer.output
        if isinstance(layer, layers.Dropout):
            continue
        if type(layer) in CELLS:
            cell = _cell(net, layer)
            names = [f"{layer.name}_{state}" for state in STATES[type(layer)]]
            inputs |= {name: keras.Input((layer.units,), name=name) for name in names}
            x, found = cell(x, [inputs[name] for name in names])
            found = found if isinstance(found, list | tuple) else [found]
            outputs |= {f"{NEXT}{name}": new for name, new in zip(names, found, strict=True)}
        elif isinstance(layer, layers.Embedding) and not layer.mask_zero:
            x = type(layer).from_config(layer.get_config())(x)  # (b, 1, width)
            x = layers.Reshape((layer.output_dim,), name=f"{layer.name}_one")(x)  # (b, width)
        elif isinstance(layer, POINTWISE):
            x = type(layer).from_config(layer.get_config())(x)
        else:
            raise _refused(net, layer, f"is a {type(layer).__name__}, which has no single step")
    step = keras.Model(list(inputs.values()), {LOGITS: x, **outputs}, name=net.name)
    for layer in net.layers:
        if layer.weights and not isinstance(layer, layers.Dropout):
            step.get_layer(layer.name).set_weights(layer.get_weights())
    return step


def through_time(step: keras.Model, read: Any) -> dict[str, Any]:
    """Runs a step along windows, from states of zero; gradients flow through all of it.

    Args:
        step: See `step_of`; its first input is what it reads.
        read: Tokens (batch, time), int32; or a signal (batch, time, features).

    Returns:
        Outputs by name, each (batch, time, units).
    """
    widths, place = states(step), step.inputs[0].name
    batch = ops.shape(read)[0]
    first = {f"{NEXT}{name}": ops.zeros((batch, width)) for name, width in widths.items()}
    first[LOGITS] = ops.zeros((batch, step.output[LOGITS].shape[-1]))

    def turn(carry: dict[str, Any], now: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        known = {name: carry[f"{NEXT}{name}"] for name in widths} | {place: now}
        found = step([known[tensor.name] for tensor in step.inputs], training=False)
        found = {name: ops.cast(value, first[name].dtype) for name, value in found.items()}
        return found, found

    along = ops.expand_dims(ops.swapaxes(read, 0, 1), 2)  # (time, batch, 1, ...)
    _, found = ops.scan(turn, first, along)
    return {name: ops.transpose(value, (1, 0, 2)) for name, value in found.items()}


class StepCell(layers.Layer):
    """A step as the cell of `keras.layers.RNN`, whose loop keeps the logits alone.

    Args:
        step: Reads a signal, see `through_time`.
    """

    def __init__(self, step: keras.Model) -> None:
        super().__init__()
        self.step = step
        self.names = list(states(step))
        self.state_size = list(states(step).values())
        self.output_size = step.output[LOGITS].shape[-1]

    def call(self, now: Any, known: list[Any], training: bool = False) -> tuple[Any, list[Any]]:
        """Returns the logits and the new states, given (batch, features) and the states."""
        found = self.step([ops.expand_dims(now, 1), *known], training=training)
        new = [
            ops.cast(found[NEXT + name], x.dtype) for name, x in zip(self.names, known, strict=True)
        ]
        return found[LOGITS], new


def logits_of(step: keras.Model, series: Any, *, training: bool) -> Any:
    """Returns the logits (batch, time, units) of a step along a signal, as `through_time` does.

    Args:
        step: Its first input is `series`.
        series: (batch, time, features).
        training: Whether to run as in training.
    """
    return layers.RNN(StepCell(step), return_sequences=True)(series, training=training)


def _cell(net: keras.Model, layer: Any) -> keras.layers.Layer:
    """The cell of a recurrent layer, without dropout, under the layer's name."""
    if layer.go_backwards or not layer.return_sequences:
        raise _refused(net, layer, "runs backwards or gives its last place only")
    config = {**layer.cell.get_config(), "name": layer.name, "seed": None}
    return CELLS[type(layer)].from_config({**config, "dropout": 0.0, "recurrent_dropout": 0.0})


def _refused(net: keras.Model, layer: keras.layers.Layer, why: str) -> ValueError:
    return ValueError(
        f"{net.name}: {layer.name} {why}; expected a chain of an embedding, LSTM, GRU or "
        "SimpleRNN, and layers that treat each place by itself."
    )
