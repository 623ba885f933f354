"""A language model of characters: an embedding, layers of LSTM, the logits of the next character.

Sources: Graves 2013, Generating sequences with recurrent neural networks, arXiv:1308.0850, section
3; Karpathy, Johnson & Fei-Fei 2015, arXiv:1506.02078; dropout between the layers and never along
time: Zaremba, Sutskever & Vinyals 2014, arXiv:1409.2329, section 3; GRU in place of LSTM: Cho et
al. 2014, arXiv:1406.1078. The states of a GRU lie between -1 and 1, so 8 bits hold them; the cells
of an LSTM count, to 85 on the help texts of Python.
Differs: no skip connections, and peepholes only where `recurrent` asks for them (Graves has both);
characters are embedded in place of one-hot; every window of a text begins with states of zero,
where the papers carry them on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
from keras import layers

from zoo.layers.peephole_lstm import PeepholeLSTM

TAKES_TEXT = True


def char_lstm(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    units: Sequence[int],
    embedding: int,
    recurrent: Literal["lstm", "gru", "peephole"] = "lstm",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns the model: `tokens` (batch, time) to `logits` (batch, time, num_classes).

    The logits at a place are of the character behind it. Any time fits, see `input_shape`.

    Args:
        name: Name of the model.
        input_shape: (time,); `(None,)` for windows of any length.
        num_classes: Characters of the vocabulary.
        units: Units of each recurrent layer, from the input on.
        embedding: Length of the vector of a character.
        recurrent: Kind of the recurrent layers.
        dropout: Share of the values that is left out before each of them and before the logits.
    """
    layer = {"lstm": layers.LSTM, "gru": layers.GRU, "peephole": PeepholeLSTM}[recurrent]
    tokens = keras.Input(input_shape, dtype="int32", name="tokens")
    x = layers.Embedding(num_classes, embedding, name="embedding")(tokens)
    for index, width in enumerate(units, start=1):
        place = f"{recurrent}{index}"
        if dropout:
            x = layers.Dropout(dropout, name=f"{place}_dropout")(x)
        x = layer(width, return_sequences=True, name=place)(x)  # (batch, time, width)
    if dropout:
        x = layers.Dropout(dropout, name="logits_dropout")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(tokens, logits, name=name)
