"""A temporal convolutional network that predicts the next token of a text.

Source: Bai, Kolter & Koltun 2018, An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling, arXiv:1803.01271, section 3 and figure 1: blocks of two causal
convolutions, each with a ReLU and dropout, whose dilation doubles from block to block; what a block
reads is added to what it gives, through a convolution of one place where the widths differ.
Differs: no weight normalisation; dropout of single values, not of whole channels; the logits have
weights of their own.

A network of 5 blocks of width 3 sees 1 + 2 * 2 * (1 + 2 + 4 + 8 + 16) = 125 tokens. It reads whole
windows and has no step: what is deployed is the network, with windows of its one length.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

TAKES_TEXT = True


def char_tcn(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    channels: Sequence[int],
    embedding: int,
    width: int = 3,
    dropout: float = 0.1,
    context: int = 100,
) -> keras.Model:
    """Returns the model: `tokens` (batch, time) to `logits` (batch, time, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time,); `(None,)` takes `context`.
        num_classes: Tokens of the vocabulary.
        channels: Channels of each block, from the input on; the dilation of block i is 2^i.
        embedding: Length of the vector of a token.
        width: Places of each convolution.
        dropout: Share of the values that is left out behind each convolution.
        context: Tokens of a window.
    """
    tokens = keras.Input((input_shape[0] or context,), dtype="int32", name="tokens")
    x = layers.Embedding(num_classes, embedding, name="embedding")(tokens)
    for block, depth in enumerate(channels, start=1):
        before = x
        for part in (1, 2):
            place = f"block{block}_conv{part}"
            x = layers.Conv1D(
                depth, width, padding="causal", dilation_rate=2 ** (block - 1), name=place
            )(x)  # (batch, time, depth)
            x = layers.ReLU(name=f"{place}_relu")(x)
            x = layers.Dropout(dropout, name=f"{place}_dropout")(x)
        if before.shape[-1] != depth:
            before = layers.Conv1D(depth, 1, name=f"block{block}_down")(before)
        x = layers.Add(name=f"block{block}_add")([x, before])
        x = layers.ReLU(name=f"block{block}_relu")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(tokens, logits, name=name)
