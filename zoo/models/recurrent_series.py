"""Recurrent networks of signals: which class one is of, or how it goes on.

Sources: Elman 1990, Finding structure in time, Cognitive Science 14(2); Hochreiter & Schmidhuber
1997, Long short-term memory, Neural Computation 9(8), with the forget gates of Gers et al. 2000;
Cho et al. 2014, arXiv:1406.1078 (GRU); peepholes: Gers & Schmidhuber 2000, Recurrent nets that time
and count, IJCNN; both directions: Schuster & Paliwal 1997, IEEE Trans. Signal Processing
45(11).
Differs: the last state is read, of both directions; a forecast is of several values at once, of a
window whose last value is taken away and whose deviation is divided out, and is put back into its
unit: the network sees the shape of a signal, wherever it is and however large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras
from keras import layers, ops

from zoo.layers.peephole_lstm import PeepholeLSTM

TAKES_SERIES = True
Kind: TypeAlias = Literal["elman", "lstm", "gru", "peephole"]
LAYERS = {
    "elman": layers.SimpleRNN,
    "lstm": layers.LSTM,
    "gru": layers.GRU,
    "peephole": PeepholeLSTM,
}
LEAST = 1e-3  # deviation that a window is divided by


def recurrent_series(
    *,
    name: str,
    input_shape: tuple[int, int],
    num_classes: int,
    units: Sequence[int],
    recurrent: Kind = "lstm",
    both_ways: bool = False,
    ragged: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a classifier: `series` (batch, time, features) to `logits` (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time, features).
        num_classes: Length of the output.
        units: Units of each recurrent layer, from the input on; of one direction.
        recurrent: Kind of the layers.
        both_ways: Whether each reads the signal forwards and backwards.
        ragged: Whether places whose features are all 0 stand behind the end of a signal, and are
            not read; a training takes it from the data, which then have a feature for it.
        dropout: Share of the last state that is left out before the logits.
    """
    series = keras.Input(input_shape, name="series")
    x = layers.Masking(name="ends")(series) if ragged else series
    x = last_state(x, units, recurrent, both_ways=both_ways)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(series, logits, name=name)


def recurrent_forecast(
    *,
    name: str,
    input_shape: tuple[int, int],
    num_classes: int,
    units: Sequence[int],
    recurrent: Kind = "lstm",
) -> keras.Model:
    """Returns a forecaster: `series` (batch, time, 1) to `ahead` (batch, num_classes, 1).

    Args:
        name: Name of the model.
        input_shape: (time, 1).
        num_classes: Values ahead.
        units: Units of each recurrent layer, from the input on.
        recurrent: Kind of the layers.

    Raises:
        ValueError: There are several features.
    """
    if input_shape[1] != 1:
        raise ValueError(
            f"{name}: got {input_shape[1]} features; expected 1, the signal that goes on."
        )
    series = keras.Input(input_shape, name="series", dtype="float32")
    last = series[:, -1:]  # (batch, 1, 1)
    x = ops.subtract(series, last)
    square = ops.maximum(ops.var(x, axis=1, keepdims=True), LEAST**2)  # (batch, 1, 1)
    # No division: in integers of 8 bits the deviation of a window of one value is 0.
    x = last_state(ops.multiply(x, ops.rsqrt(square)), units, recurrent, both_ways=False)
    x = layers.Dense(num_classes, dtype="float32", name="shape")(x)
    x = layers.Reshape((num_classes, 1), name="steps")(x)
    ahead = layers.Add(dtype="float32", name="ahead")([ops.multiply(x, ops.sqrt(square)), last])
    return keras.Model(series, ahead, name=name)


def last_state(x: Any, units: Sequence[int], recurrent: Kind, *, both_ways: bool) -> Any:
    """Returns the last state (batch, units) of recurrent layers, that of both directions joined.

    Args:
        x: (batch, time, features), with or without a mask.
        units: Units of each layer, of one direction.
        recurrent: Kind of the layers.
        both_ways: Whether each reads forwards and backwards.
    """
    for index, width in enumerate(units, start=1):
        place = f"{recurrent}{index}"
        layer = LAYERS[recurrent](width, return_sequences=index < len(units), name=place)
        x = (layers.Bidirectional(layer, name=place) if both_ways else layer)(x)
    return x
