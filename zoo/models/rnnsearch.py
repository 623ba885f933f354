"""RNNsearch: a decoder that looks for the places of the text that the next word is about.

Source: Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and
translate, arXiv:1409.0473, section 3 and appendix A: a bidirectional encoder of gated recurrent
units (Cho et al. 2014, arXiv:1406.1078), additive attention from the state before the word, and a
maxout layer under the scores. The paper's sizes: 1,000 units, words of 620, 500 maxout units.
Differs: gates have biases; the text is a row of a fixed length, behind whose end is padding.

With K words of the source, L of the target, units n, words m, a = n of the attention and o maxout
units: two embeddings (K + L) m; an encoder twice 3 (n (m + n) + n); first state n n + n; keys
2 n a + a; query n a; energy a; a decoder 3 (n (m + 2 n + n) + n); 2 o (n + m + 2 n) + 2 o before
maxout; scores o L + L.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from zoo.common.tensors import LOGITS, NEXT, SOURCE, TOKENS, WEIGHTS
from zoo.models.attention import ANNOTATIONS, KEYS, MASK, attend, one_word, real_places

TAKES_TEXT = True


def rnnsearch(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    source_tokens: int,
    units: int = 1000,
    embedding: int = 620,
    maxout: int = 500,
    dropout: float = 0.0,
) -> dict[str, keras.Model]:
    """Returns the two networks of a translator with attention.

    `encoder`: `source` (batch, time) to `annotations` (batch, time, 2 units), their `keys` (batch,
    time, units), `real` (batch, time), 0 at padding, and the first state `gru_h` (batch, units).
    `decoder`, one step: `tokens` (batch, 1) and all of these to `logits` (batch, num_classes) of
    the next token, `next_gru_h`, and `place_weights` (batch, time), how much it looked where.

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (time,) of the longest text, padding counted.
        num_classes: Tokens of what is said, with the marks of `zoo.common.sentences`.
        source_tokens: Tokens of what is read, padding among them.
        units: Of each direction of the encoder, of the decoder and of the attention.
        embedding: Length of the vector of a token.
        maxout: Units below the scores.
        dropout: Share of the vectors of tokens and of the maxout units left out in training.
    """
    (time,) = input_shape
    source = keras.Input((time,), dtype="int32", name=SOURCE)
    there, real = real_places(source)
    x = layers.Embedding(source_tokens, embedding, name="embedding")(source)
    x = layers.Dropout(dropout, name="source_drop")(x) if dropout else x
    gru = {"reset_after": False, "return_sequences": True, "unroll": True}
    ahead = layers.GRU(units, **gru, name="ahead")(x, mask=there)
    back = layers.GRU(units, **gru, go_backwards=True, name="back")(x, mask=there)
    # Its last step has read the whole text; integers of 8 bits end where a text is turned round.
    first = layers.Dense(units, "tanh", name="gru_h")(back[:, -1])
    back = ops.flip(back, axis=1)  # (batch, time, units), as the text is written
    seen = ops.concatenate([back, ahead], axis=-1)  # (batch, time, 2 units); the mask ends here
    keys = layers.Dense(units, name=KEYS)(seen)
    known = {ANNOTATIONS: seen, KEYS: keys, MASK: real, "gru_h": first}
    encoder = keras.Model(source, known, name="encoder")

    tokens = keras.Input((1,), dtype="int32", name=TOKENS)
    seen = keras.Input((time, 2 * units), name=ANNOTATIONS)
    keys = keras.Input((time, units), name=KEYS)
    real = keras.Input((time,), name=MASK)
    state = keras.Input((units,), name="gru_h")
    query = layers.Dense(units, use_bias=False, name="query")(state)
    query = layers.Reshape((1, units), name="query_one")(query)
    x = layers.Activation("tanh", name="attention_tanh")(keys + query)  # (batch, time, units)
    x = layers.Dense(1, use_bias=False, name="energy")(x)
    x = layers.Reshape((time,), name="energy_flat")(x)
    context, weights = attend(x, real, seen)
    word = one_word(tokens, num_classes, embedding)
    word = layers.Dropout(dropout, name="word_drop")(word) if dropout else word
    x = layers.Concatenate(name="gru_input")([word, context])
    new, _ = layers.GRUCell(units, reset_after=False, name="gru")(x, [state])
    x = layers.Concatenate(name="maxout_input")([state, word, context])  # appendix A.2.2
    x = layers.Dense(2 * maxout, name="maxout_pieces")(x)
    x = ops.max(layers.Reshape((maxout, 2), name="maxout_pairs")(x), axis=-1)  # (batch, maxout)
    x = layers.Dropout(dropout, name="maxout_drop")(x) if dropout else x
    logits = layers.Dense(num_classes, dtype="float32", name=LOGITS)(x)
    outputs = {LOGITS: logits, f"{NEXT}gru_h": new, WEIGHTS: weights}
    decoder = keras.Model([tokens, seen, keys, real, state], outputs, name="decoder")
    return {"encoder": encoder, "decoder": decoder}
