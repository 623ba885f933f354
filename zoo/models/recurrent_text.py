"""Recurrent networks of short texts: of which class one is, read character by character.

Sources: Elman 1990, Finding structure in time, Cognitive Science 14(2), with the sizes of PyTorch's
tutorial, Classifying names with a character-level RNN: characters as they are, one of many, and 128
hidden units; Hochreiter & Schmidhuber 1997, Long short-term memory, Neural Computation 9(8); both
directions: Schuster & Paliwal 1997, IEEE Trans. Signal Processing 45(11).
Differs: a text is read as a row of a batch, padded with 0; the state behind its last character is
read, of both directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from zoo.models.recurrent_series import Kind, last_state

TAKES_TEXT = True


def recurrent_text(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    vocabulary: int,
    units: Sequence[int],
    recurrent: Kind = "lstm",
    embedding: int | None = None,
    both_ways: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a classifier: `tokens` (batch, time) to `logits` (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time,), tokens of the longest text.
        num_classes: Length of the output.
        vocabulary: Number of tokens; 0 is padding.
        units: Units of each recurrent layer, from the input on; of one direction.
        recurrent: Kind of the layers.
        embedding: Length of the vector of a token; `None`: each is a place of its own, one of many.
        both_ways: Whether each reads the text forwards and backwards.
        dropout: Share of the values that is left out before the recurrent layers, and before the
            logits.
    """
    tokens = keras.Input(input_shape, dtype="int32", name="tokens")
    if embedding is None:
        x = ops.one_hot(tokens, vocabulary)[..., 1:]  # (batch, time, vocabulary - 1)
        x = layers.Masking(name="ends")(x)  # padding is all 0
    else:
        x = layers.Embedding(vocabulary, embedding, mask_zero=True, name="embedding")(tokens)
    if dropout:
        x = layers.Dropout(dropout, name="tokens_dropout")(x)
    x = last_state(x, units, recurrent, both_ways=both_ways)
    if dropout:
        x = layers.Dropout(dropout, name="logits_dropout")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(tokens, logits, name=name)
