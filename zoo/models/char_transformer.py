"""A decoder of self-attention that predicts the next token of a text.

Sources: Vaswani et al. 2017, Attention is all you need, arXiv:1706.03762; of characters: Al-Rfou et
al. 2018, Character-level language modeling with deeper self-attention, arXiv:1808.04444, whose
network of 12 layers has width 512, 8 heads, 2,048 units and windows of 512.
Differs: layers are normalised before each part (Xiong et al. 2020, arXiv:2002.04745), which needs
no long warm-up; learnt positions are added once, not in each layer; no auxiliary losses.

A place sees itself and those before it. The network reads whole windows and has no step: what is
deployed is the network, with windows of its one length.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

TAKES_TEXT = True
HIDDEN = -1e9  # score of what a place may not see


def char_transformer(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: int = 512,
    depth: int = 12,
    heads: int = 8,
    units: int = 2048,
    dropout: float = 0.1,
    context: int = 512,
) -> keras.Model:
    """Returns the model: `tokens` (batch, time) to `logits` (batch, time, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time,); `(None,)` takes `context`.
        num_classes: Tokens of the vocabulary.
        width: Length of the vector of a place, a multiple of `heads`.
        depth: Number of layers.
        heads: Heads of the attention of each.
        units: Of the dense layer within each.
        dropout: Share of the values that is left out of what is added in each part.
        context: Tokens of a window.

    Raises:
        ValueError: The width cannot be shared by the heads.
    """
    if width % heads:
        raise ValueError(
            f"char_transformer: got width {width} and {heads} heads; expected a multiple of them."
        )
    time = input_shape[0] or context
    tokens = keras.Input((time,), dtype="int32", name="tokens")
    places = ops.cumsum(ops.ones_like(tokens), axis=1) - 1  # (batch, time)
    seen = ops.greater_equal(places[:, None, :, None], places[:, None, None, :])
    x = layers.Embedding(num_classes, width, name="embedding")(tokens)
    x = x + layers.Embedding(time, width, name="positions")(places)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    for number in range(1, depth + 1):
        place = f"layer{number}"
        y = layers.LayerNormalization(epsilon=1e-5, name=f"{place}_attention_norm")(x)
        y = _attention(y, seen, heads=heads, place=place)
        x = x + layers.Dropout(dropout, name=f"{place}_attention_dropout")(y)
        y = layers.LayerNormalization(epsilon=1e-5, name=f"{place}_dense_norm")(x)
        y = layers.Dense(units, activation="relu", name=f"{place}_dense")(y)
        y = layers.Dense(width, name=f"{place}_dense_out")(y)
        x = x + layers.Dropout(dropout, name=f"{place}_dense_dropout")(y)
    x = layers.LayerNormalization(epsilon=1e-5, name="logits_norm")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(tokens, logits, name=name)


def _attention(x: Any, seen: Any, *, heads: int, place: str) -> Any:
    """Self-attention of several heads, equations 1 and section 3.2.2 of Vaswani et al.

    Args:
        x: (batch, time, width).
        seen: Whether a place sees another, (batch, 1, time, time).
        heads: Their number.
        place: What the names of the layers begin with.
    """
    time, width = x.shape[1:]
    parts = []
    for part in ("query", "key", "value"):
        found = layers.Dense(width, name=f"{place}_{part}")(x)
        found = layers.Reshape((time, heads, width // heads), name=f"{place}_{part}_heads")(found)
        parts.append(ops.transpose(found, (0, 2, 1, 3)))  # (batch, heads, time, width / heads)
    query, key, value = parts
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / (width // heads) ** 0.5
    scores = ops.where(seen, scores, HIDDEN)  # (batch, heads, time, time)
    weights = layers.Softmax(name=f"{place}_softmax")(scores)
    found = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
    found = layers.Reshape((time, width), name=f"{place}_joined")(found)
    return layers.Dense(width, name=f"{place}_attention_out")(found)
