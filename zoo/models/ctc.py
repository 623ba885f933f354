"""A bidirectional LSTM that says at each place of a signal which label it sees, or none.

Source: Graves, Fernandez, Gomez & Schmidhuber 2006, Connectionist temporal classification, ICML 23,
section 5.2: 100 blocks in each direction, 26 inputs, 61 phones and the blank. Differs: no
peepholes; their 600 weights are what the paper's 114,662 have more. Lines of handwriting: Graves et
al. 2009, IEEE PAMI 31(5).

With n inputs, u units, d directions' layers and c classes: the first layer 2 * 4 (u (n + u) + u),
each further one 2 * 4 (u (2 u + u) + u), scores 2 u c + c.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

TAKES_SERIES = True


def ctc_blstm(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    units: Sequence[int] = (100,),
    together: int = 1,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns the model: `series` (batch, time, features) to `logits` (batch, places, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time, features).
        num_classes: Labels and the blank, which is the first.
        units: Of each direction, of each layer from the input on.
        together: Places of the signal that are read as one; they divide its time.
        dropout: Share of the values left out before each layer and the scores.

    Raises:
        ValueError: The time is not a multiple of `together`.
    """
    time, features = input_shape
    series = keras.Input((time, features), name="series")
    x = series
    if together > 1:
        if time is None or features is None or time % together:
            raise ValueError(
                f"ctc_blstm: got {time} places and together={together}; expected a multiple."
            )
        x = layers.Reshape((time // together, together * features), name="together")(x)
    for index, width in enumerate(units, start=1):
        if dropout:
            x = layers.Dropout(dropout, name=f"lstm{index}_drop")(x)
        lstm = layers.LSTM(width, return_sequences=True, name=f"lstm{index}_one_way")
        x = layers.Bidirectional(lstm, name=f"lstm{index}")(x)  # (batch, places, 2 width)
    if dropout:
        x = layers.Dropout(dropout, name="logits_drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(series, logits, name=name)
