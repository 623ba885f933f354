"""Sequence to sequence: an LSTM reads a text, another one begins with its states and says another.

Sources: Sutskever, Vinyals & Le 2014, Sequence to sequence learning with neural networks,
arXiv:1409.3215, section 3: four layers of 1,000 units, vectors of 1,000, the text reversed. With
attention: Luong, Pham & Manning 2015, Effective approaches to attention-based neural machine
translation, arXiv:1508.04025, sections 3.1 and 3.3: global attention by scores that are `dot` or
`general` products, and what it gave fed to the next step.
Differs: the text is a row of a fixed length, behind whose end is padding, left out by masks; the
papers' start of a sentence is a mark of the vocabulary.

With K words of the source, L of the target, layers l, units n, words m: embeddings (K + L) m; the
encoder 4 (n (m + n) + n) + (l - 1) 4 (2 n n + n); the decoder alike, n more inputs where it is fed;
with attention n n of `general` scores and 2 n n of what is fed; scores n L + L.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import layers, ops

from zoo.common.tensors import LOGITS, NEXT, SOURCE, TOKENS, WEIGHTS
from zoo.models.attention import ANNOTATIONS, MASK, attend, one_word, real_places

TAKES_TEXT = True
FED = "fed"  # the state of what attention gave to the step before


def seq2seq(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    source_tokens: int,
    depth: int = 4,
    units: int = 1000,
    embedding: int = 1000,
    attention: Literal["none", "dot", "general"] = "none",
    dropout: float = 0.0,
) -> dict[str, keras.Model]:
    """Returns the two networks of a translator.

    `encoder`: `source` (batch, time) to the last states of its layers, `lstm1_h`, `lstm1_c` ...
    (batch, units); with attention also `annotations` (batch, time, units) and `real` (batch, time),
    0 at padding. `decoder`, one step: `tokens` (batch, 1) and all of these to `logits` (batch,
    num_classes) of the next token and the new states, `next_lstm1_h` ...; with attention it has the
    state `fed` too, and says its `place_weights` (batch, time).

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (time,) of the longest text, padding counted.
        num_classes: Tokens of what is said, with the marks of `zoo.common.sentences`.
        source_tokens: Tokens of what is read, padding among them.
        depth: Layers of LSTM of each network.
        units: Of each.
        embedding: Length of the vector of a token.
        attention: How places are scored.
        dropout: Share of the inputs of each layer and of the scores left out in training.
    """
    (time,) = input_shape

    def dropped(x: keras.KerasTensor, place: str) -> keras.KerasTensor:
        return layers.Dropout(dropout, name=f"{place}_drop")(x) if dropout else x

    source = keras.Input((time,), dtype="int32", name=SOURCE)
    turned = ops.flip(source, axis=1)  # reversed, as the paper does; padding leads
    there, real = real_places(turned)
    x = layers.Embedding(source_tokens, embedding, name="embedding")(turned)
    known: dict[str, keras.KerasTensor] = {}
    for index in range(1, depth + 1):
        x = dropped(x, f"lstm{index}")
        layer = layers.LSTM(
            units, return_sequences=True, return_state=True, unroll=True, name=f"lstm{index}"
        )
        x, *found = layer(x, mask=there)
        known |= {f"lstm{index}_{kind}": one for kind, one in zip("hc", found, strict=True)}
    widths: dict[str, tuple[int, ...]] = dict.fromkeys(known, (units,))
    if attention != "none":
        known |= {ANNOTATIONS: ops.flip(x, axis=1), MASK: ops.flip(real, axis=1)}
        widths |= {ANNOTATIONS: (time, units), MASK: (time,), FED: (units,)}
    encoder = keras.Model(source, known, name="encoder")

    tokens = keras.Input((1,), dtype="int32", name=TOKENS)
    given = {what: keras.Input(shape, name=what) for what, shape in widths.items()}
    x = one_word(tokens, num_classes, embedding)
    if attention != "none":
        x = layers.Concatenate(name="word_and_fed")([x, given[FED]])
    outputs: dict[str, keras.KerasTensor] = {}
    for index in range(1, depth + 1):
        states = [given[f"lstm{index}_{kind}"] for kind in "hc"]
        x, found = layers.LSTMCell(units, name=f"lstm{index}")(dropped(x, f"lstm{index}"), states)
        outputs |= {f"{NEXT}lstm{index}_{k}": one for k, one in zip("hc", found, strict=True)}
    if attention != "none":
        query = x if attention == "dot" else layers.Dense(units, use_bias=False, name="general")(x)
        query = layers.Reshape((units, 1), name="query_one")(query)
        energy = ops.matmul(given[ANNOTATIONS], query)  # (batch, time, 1)
        energy = layers.Reshape((time,), name="energy_flat")(energy)
        context, weights = attend(energy, given[MASK], given[ANNOTATIONS])
        x = layers.Concatenate(name="context_and_state")([context, x])
        x = layers.Dense(units, "tanh", use_bias=False, name="attentional")(x)  # equation 5
        outputs |= {f"{NEXT}{FED}": x, WEIGHTS: weights}
    logits = layers.Dense(num_classes, dtype="float32", name=LOGITS)(dropped(x, LOGITS))
    decoder = keras.Model([tokens, *given.values()], {LOGITS: logits, **outputs}, name="decoder")
    return {"encoder": encoder, "decoder": decoder}
