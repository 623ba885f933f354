"""Two sentences to three classes: LSTM encoders, and attention without any order of words.

Sources: Bowman et al. 2015, A large annotated corpus for learning natural language inference,
arXiv:1508.05326, section 3.3: words of 300 numbers, mapped to 100 by a tanh, an LSTM of 100 units
for both sentences, then three layers of 200 tanh units. Parikh et al. 2016, A decomposable
attention model for natural language inference, arXiv:1606.01933, sections 3 and 4: words of 300
numbers projected to 200, networks F, G and H of two layers of 200 ReLU units.
Differs: the words are learnt, where both papers take those of GloVe; attention has no empty word in
front of a sentence, and no attention within it; both leave values out at a share that can be set.
With V words, `nli_lstm` has 300 V + 30,100 + 80,400 + 3 * 40,200 + 603 = 231,703 + 300 V weights,
`decomposable_attention` 300 V + 60,000 + F 80,400 + G 120,400 + H 120,400 + 603 = 381,803 + 300 V:
the paper counts 382,000 without the words.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from zoo.common.tensors import HYPOTHESIS, TOKENS

TAKES_TEXT = True
PADDED = -30.0  # score of padding


def nli_lstm(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    vocabulary: int,
    embedding: int = 300,
    mapped: int = 100,
    units: int = 200,
    dropout: float = 0.1,
) -> keras.Model:
    """Returns the model: `tokens` and `hypothesis` (batch, time) to `logits` (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time,), words of the longest sentence.
        num_classes: Number of classes.
        vocabulary: Number of words; 0 is padding.
        embedding: Numbers of a word.
        mapped: What they are mapped to, and units of the LSTM.
        units: Of each of the three layers behind it.
        dropout: Share of the values of a sentence that is left out.
    """
    sentences = [keras.Input(input_shape, dtype="int32", name=x) for x in (TOKENS, HYPOTHESIS)]
    words = layers.Embedding(vocabulary, embedding, name="embedding")
    narrow = layers.Dense(mapped, "tanh", name="mapped")
    lstm = layers.LSTM(mapped, return_sequences=True, name="lstm")
    drop = layers.Dropout(dropout, name="sentence_dropout")
    ends = []
    for tokens in sentences:
        x = lstm(narrow(words(tokens)))  # (batch, time, mapped)
        there = _there(tokens)
        first, rest = ops.split(there, [1], axis=1)
        last = there - ops.concatenate([rest, ops.zeros_like(first)], axis=1)  # 1 at the last word
        ends.append(drop(ops.sum(x * last, axis=1)))
    x = layers.Concatenate(name="both")(ends)
    for number in (1, 2, 3):
        x = layers.Dense(units, "tanh", name=f"dense{number}")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(sentences, logits, name=name)


def decomposable_attention(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    vocabulary: int,
    embedding: int = 300,
    units: int = 200,
    dropout: float = 0.2,
) -> keras.Model:
    """Returns the model: `tokens` and `hypothesis` (batch, time) to `logits` (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time,), words of the longest sentence.
        num_classes: Number of classes.
        vocabulary: Number of words; 0 is padding.
        embedding: Numbers of a word.
        units: Of the projected words, and of each layer.
        dropout: Share of the values that is left out before each layer.
    """
    sentences = [keras.Input(input_shape, dtype="int32", name=x) for x in (TOKENS, HYPOTHESIS)]
    words = layers.Embedding(vocabulary, embedding, name="embedding")
    project = layers.Dense(units, use_bias=False, name="projected")
    attend, compare, aggregate = (_twice(x, units, dropout) for x in ("attend", "compare", "class"))
    there = [_there(tokens) for tokens in sentences]  # (batch, time, 1)
    a, b = (project(words(tokens)) * mask for tokens, mask in zip(sentences, there, strict=True))
    seen_a, seen_b = (attend(x) * mask for x, mask in zip((a, b), there, strict=True))
    scores = ops.matmul(seen_a, ops.transpose(seen_b, (0, 2, 1)))  # (batch, time of a, time of b)
    of_a = ops.matmul(_weights(scores, sentences[1]), b)  # what of b goes with each word of a
    of_b = ops.matmul(_weights(ops.transpose(scores, (0, 2, 1)), sentences[0]), a)
    means = []
    for x, other, mask in ((a, of_a, there[0]), (b, of_b, there[1])):
        both = compare(ops.concatenate([x, other], axis=-1))
        means.append(ops.sum(both * mask, axis=1))
    x = aggregate(ops.concatenate(means, axis=-1))
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(sentences, logits, name=name)


def _there(tokens: Any) -> Any:
    """1 at a word, 0 at padding, (batch, time, 1)."""
    return ops.expand_dims(ops.cast(ops.not_equal(tokens, 0), "float32"), 2)


def _weights(scores: Any, tokens: Any) -> Any:
    """The softmax over the words that are there, of scores (batch, time, time of tokens).

    Scores are at least 0. What stands for those of padding leaves it nothing, and is not so far off
    that 8 bits would not hold the other scores beside it.
    """
    there = ops.expand_dims(ops.not_equal(tokens, 0), 1)
    return ops.softmax(ops.where(there, scores, PADDED), axis=-1)


def _twice(name: str, units: int, dropout: float) -> Any:
    """Two layers, with what is left out before each."""
    parts = []
    for number in (1, 2):
        parts.append(layers.Dropout(dropout, name=f"{name}{number}_dropout"))
        parts.append(layers.Dense(units, "relu", name=f"{name}{number}"))

    def run(x: Any) -> Any:
        for part in parts:
            x = part(x)
        return x

    return run
