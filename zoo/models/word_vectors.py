"""Vectors of words: two for each word, and how often it is drawn as a wrong answer.

Sources: Mikolov et al. 2013, Efficient estimation of word representations, arXiv:1301.3781;
Distributed representations of words and phrases, arXiv:1310.4546, section 2.2 (negative samples)
and 2.3 (words that are left out); Pennington, Socher & Manning 2014, GloVe, section 3.
A network of vectors is a table; the vector of a word beside others has a table of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

TAKES_TEXT = True
PLACES = 200_000  # of the table that wrong answers are drawn from
POWER = 0.75  # of a word's count: how often it is drawn


def word2vec(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    size: int = 100,
    counts: Sequence[int] | None = None,
) -> dict[str, keras.Model]:
    """Returns the networks of word2vec.

    `words`: `tokens` (batch, 1) to `vector` (batch, size), which is what is deployed; `contexts`
    likewise, of a word beside another, which begins with zeros; the former with numbers within
    1 / size, as gensim's, twice as far as those of word2vec.c. `wrong`: a place of a table
    (batch, 1) to a word that stands there (batch,), each as often as its count to the power of 0.75
    says; `shares`: a word to its share of the text (batch,). The latter two do not learn.

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: Not used: words are read one by one.
        num_classes: Words of the vocabulary; the first is none.
        size: Numbers of a vector.
        counts: How often each word occurs in the training part (num_classes,); `None`: all alike.
    """
    found = np.asarray(np.ones(num_classes) if counts is None else counts, np.float64)
    found[0] = 0 if num_classes > 1 else 1  # which is no word
    weight = found**POWER
    ends = np.rint(PLACES * np.cumsum(weight) / weight.sum()).astype(np.int64)
    places = np.searchsorted(ends, np.arange(PLACES), side="right")
    return {
        "words": _vectors("words", num_classes, size, 1 / size),
        "contexts": _vectors("contexts", num_classes, size, 0),
        "wrong": _known("wrong", places),
        "shares": _known("shares", found / max(found.sum(), 1)),
    }


def glove(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    size: int = 100,
) -> dict[str, keras.Model]:
    """Returns the networks of GloVe.

    `words` and `contexts`: `tokens` (batch, 1) to `vector` (batch, size); `word_biases` and
    `context_biases`: to a number (batch, 1).

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: Not used: words are read one by one.
        num_classes: Words of the vocabulary; the first is none.
        size: Numbers of a vector.
    """
    return {
        "words": _vectors("words", num_classes, size, 0.5 / size),
        "contexts": _vectors("contexts", num_classes, size, 0.5 / size),
        "word_biases": _vectors("word_biases", num_classes, 1, 0),
        "context_biases": _vectors("context_biases", num_classes, 1, 0),
    }


def _vectors(name: str, words: int, size: int, start: float) -> keras.Model:
    """A table of vectors whose numbers are drawn from -`start` to `start`."""
    tokens = keras.Input((1,), dtype="int32", name="tokens")
    begin = keras.initializers.RandomUniform(-start, start) if start else "zeros"
    x = layers.Embedding(words, size, embeddings_initializer=begin, name=f"{name}_table")(tokens)
    return keras.Model(tokens, layers.Reshape((size,), name="vector")(x), name=name)


def _known(name: str, values: np.ndarray) -> keras.Model:
    """A table of numbers that does not learn."""
    places = keras.Input((1,), dtype="int32", name="places")
    table = layers.Embedding(len(values), 1, trainable=False, name=f"{name}_table")
    found = layers.Flatten(name=name)(table(places))
    table.set_weights([values.astype("float32")[:, None]])
    return keras.Model(places, found, name=name)
