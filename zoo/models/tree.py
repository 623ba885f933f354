"""Recursive networks: the vector of a phrase is made of those of its two parts, from words up.

Sources: Socher et al. 2011, Parsing natural scenes and natural language with recursive neural
networks, ICML 28, equation 1 (`plain`); Socher et al. 2013, Recursive deep models for semantic
compositionality over a sentiment treebank, EMNLP, section 4.3, a tensor beside the matrix
(`tensor`); Tai, Socher & Manning 2015, Improved semantic representations from tree-structured long
short-term memory networks, arXiv:1503.00075, section 3.2, binary: a forget gate for each part
(`lstm`).
Differs: the answer is given at the root alone, where Socher and Tai learn that of each phrase too;
the forget gates of the tree-LSTM have one bias, and words pass its input, output and update gates.
With V words, E numbers of a word, d of a phrase, of 10 classes:
    plain   V d + d (2 d + 1) + 10 (d + 1)
    tensor  the same and 4 d^3
    lstm    V E + 3 d (E + 1) + 5 d (2 d + 1) + 10 (d + 1)

A tree is its words from left to right and, for each two neighbours, the height at which they meet:
phrases of equal height are made at once, in so many levels as the highest tree has. Where a phrase
begins and ends its vector stands at each of its words, so its parts are neighbours; no index is
looked up, and converters see products, comparisons and sums alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import layers, ops

from zoo.common.tensors import JOINS, TOKENS

TAKES_TEXT = True
State = list[Any]  # vectors of phrases, of an LSTM its hidden numbers and its cells


def tree_network(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    vocabulary: int,
    levels: int,
    compose: Literal["plain", "tensor", "lstm"] = "plain",
    units: int = 32,
    embedding: int = 32,
) -> keras.Model:
    """Returns the model: `tokens` and `joins` (batch, leaves) to `logits` (batch, num_classes).

    `joins` has for each word the height, from 1, at which it meets the word behind it; 0 behind the
    last word, where `tokens` are padding.

    Args:
        name: Name of the model.
        input_shape: (leaves,), words of the longest text.
        num_classes: Number of classes.
        vocabulary: Number of words.
        levels: Height of the highest tree.
        compose: How a phrase is made of its parts, see above.
        units: Numbers of a phrase.
        embedding: Numbers of a word, of `lstm`; those of the others are phrases.

    Raises:
        ValueError: The number of leaves is not known.
    """
    (leaves,) = input_shape
    if leaves is None or leaves < 2:
        raise ValueError(f"input_shape: got {input_shape}; expected 2 leaves or more, (leaves,).")
    tokens = keras.Input((leaves,), dtype="int32", name=TOKENS)
    joins = keras.Input((leaves,), dtype="int32", name=JOINS)
    width = embedding if compose == "lstm" else units
    words = layers.Embedding(vocabulary, width, name="embedding")(tokens)
    leaf, joined = {"plain": _plain, "tensor": _tensor, "lstm": _lstm}[compose](units)
    state = leaf(words)  # each (batch, leaves, units)
    for level in range(1, levels + 1):
        state = _level(state, joins, level, joined)
    root = ops.squeeze(ops.split(state[0], [1], axis=1)[0], 1)  # the first word has the root's
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(root)
    return keras.Model([tokens, joins], logits, name=name)


def _level(state: State, joins: Any, level: int, joined: Callable[[State, State], State]) -> State:
    """Makes the phrases of one height; the other vectors stay.

    Args:
        state: The vectors of the phrase at each word, each (batch, leaves, units).
        joins: Where each word meets the next, (batch, leaves), int32.
        level: The height.
        joined: From two parts to a phrase.
    """
    behind = []
    for one in state:
        first, rest = ops.split(one, [1], axis=1)
        behind.append(ops.concatenate([rest, first], axis=1))  # of the last word it is not used
    made = joined(state, behind)
    here = ops.cast(ops.equal(joins, level), "float32")  # words that end a left part
    # Words are of one phrase where as many gaps before them are still open. They are counted and
    # compared as integers: an integer file rounds numbers that are equal to others that are not.
    still = ops.cast(ops.greater(joins, level), "int32")
    opened = ops.cumsum(still, axis=1) - still  # (batch, leaves)
    same = ops.equal(ops.expand_dims(opened, 2), ops.expand_dims(opened, 1))
    spread = ops.cast(same, "float32") * ops.expand_dims(here, 1)  # (batch, to, from)
    changed = ops.sum(spread, axis=2, keepdims=True)  # 1 in a phrase that was made now, 0 elsewhere
    stays = 1.0 - changed
    return [ops.matmul(spread, new) + stays * old for new, old in zip(made, state, strict=True)]


def _plain(units: int) -> tuple[Callable[[Any], State], Callable[[State, State], State]]:
    dense = layers.Dense(units, "tanh", name="compose")
    return lambda words: [words], lambda left, right: [dense(_both(left, right))]


def _tensor(units: int) -> tuple[Callable[[Any], State], Callable[[State, State], State]]:
    dense = layers.Dense(units, name="compose")
    tensor = layers.Dense(units, use_bias=False, name="compose_tensor")

    def joined(left: State, right: State) -> State:
        both = _both(left, right)  # (batch, leaves, 2 units)
        pairs = ops.expand_dims(both, 3) * ops.expand_dims(both, 2)
        pairs = ops.reshape(pairs, (-1, both.shape[1], 4 * units**2))
        return [ops.tanh(dense(both) + tensor(pairs))]

    return lambda words: [words], joined


def _lstm(units: int) -> tuple[Callable[[Any], State], Callable[[State, State], State]]:
    given = layers.Dense(3 * units, name="leaf")
    dense = layers.Dense(5 * units, name="compose")

    def leaf(words: Any) -> State:
        put, out, update = ops.split(given(words), 3, axis=-1)
        cell = ops.sigmoid(put) * ops.tanh(update)
        return [ops.sigmoid(out) * ops.tanh(cell), cell]

    def joined(left: State, right: State) -> State:
        put, keep_left, keep_right, out, update = ops.split(dense(_both(left, right)), 5, axis=-1)
        cell = ops.sigmoid(put) * ops.tanh(update)
        cell = cell + ops.sigmoid(keep_left) * left[1] + ops.sigmoid(keep_right) * right[1]
        return [ops.sigmoid(out) * ops.tanh(cell), cell]

    return leaf, joined


def _both(left: State, right: State) -> Any:
    return ops.concatenate([left[0], right[0]], axis=-1)
