"""Show, Attend and Tell: an LSTM that looks at a place of the picture for each word.

Source: Xu et al. 2015, Show, attend and tell, arXiv:1502.03044, deterministic ("soft") attention
and, as `hard`, stochastic: sections 3.1.2, 4.1 and 4.2, with the gate beta of 4.2.1; places are
those of VGG-19's last convolution before its pooling, 14 x 14 of 512 maps (section 4.3). The paper
does not state its sizes; 512 for a word, 1,800 units and 10,000 words are those of its authors'
program for COCO, and so are a tanh before the scores of the words and the hidden layer of the
attention, as wide as a place. Differs: that program has one more layer in each of the first states
and in the attention; no dropout.
54,832,522 parameters at 224x224: VGG-19's convolutions 20,024,384; keys 512 * 512 + 512; first
states 2 (512 * 1,800 + 1,800); words 10,000 * 512; query 1,800 * 512; energy 512 + 1; gate
1,800 + 1; LSTM 4 * 1,800 (512 + 512 + 1,800 + 1); state and context to a word's width
1,800 * 512 + 512 and 512 * 512 + 512; scores of the words 512 * 10,000 + 10,000.

The small one has the trunk of `zoo.models.show_and_tell.caption_maps`, 8 x 8 places of 96 maps at
64x64. Its 416,261 with 27 words, 128 units and 64 for a word: trunk 203,688; keys 96 * 96 + 96;
first states 2 (96 * 128 + 128); words 27 * 64; query 128 * 96; energy 96 + 1; gate 128 + 1; LSTM
4 * 128 (64 + 96 + 128 + 1); 128 * 64 + 64 and 96 * 64 + 64; scores 64 * 27 + 27. Hard attention
has one weight more, the moving average.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from zoo.common.tensors import LOGITS, LOOKED, NEXT, NOISE, SOFT, TOKENS, WEIGHTS
from zoo.models.show_and_tell import caption_maps
from zoo.models.vgg import stages

VGG19 = (2, 2, 4, 4, 4)


def show_attend_tell(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    trunk: str = "vgg19",
    embedding: int = 512,
    units: int = 1800,
    hard: bool = False,
) -> dict[str, keras.Model]:
    """Returns the two networks of a captioner with soft attention.

    `encoder`: an image (batch, height, width, channels) to `annotations` of its places (batch,
    places, maps), their `keys` for the attention, alike, and the first states `lstm_h` and `lstm_c`
    (batch, units). `decoder`, one step: `tokens` (batch, 1) and all of these to `logits` (batch,
    words) of the next word, `next_lstm_h` and `next_lstm_c`, and `place_weights` (batch, places),
    how much it looked at each place.

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (height, width, channels).
        num_classes: Words of the vocabulary, with the marks of `zoo.common.sentences`.
        trunk: `vgg19`, or `scene` of the small one.
        embedding: Numbers of a word.
        units: Of the LSTM.
        hard: Whether a word looks at one place: the likeliest with `place_noise` (batch, places)
            on the logarithms of the weights, which draws it where that is Gumbel's; or at all,
            where `soft_look` (batch, 1) is 1. The decoder then answers with `place_looked` (batch,
            places) too, and there is a third network, `baseline`, a number (batch, 1) to its
            product with the only weight; see `zoo.tasks.words.hard`.

    Raises:
        ValueError: The trunk is unknown.
    """
    if trunk == "vgg19":
        image = keras.Input(input_shape, name="image")
        x = stages(image, VGG19, last_pool=False)  # (batch, 14, 14, 512) at 224x224
    elif trunk == "scene":
        image, x = caption_maps(input_shape)
    else:
        raise ValueError(f"trunk: got {trunk!r}; expected vgg19 or scene.")
    height, width, maps = x.shape[1:]
    places = height * width
    seen = layers.Reshape((places, maps), name="annotations")(x)
    mean = layers.GlobalAveragePooling1D(name="annotations_mean")(seen)
    first = {state: layers.Dense(units, "tanh", name=state)(mean) for state in ("lstm_h", "lstm_c")}
    keys = layers.Dense(maps, name="keys")(seen)
    encoder = keras.Model(image, {"annotations": seen, "keys": keys, **first}, name="encoder")

    tokens = keras.Input((1,), dtype="int32", name=TOKENS)
    seen, keys = (keras.Input((places, maps), name=one) for one in ("annotations", "keys"))
    h, c = states = [keras.Input((units,), name=state) for state in first]
    query = layers.Dense(maps, use_bias=False, name="query")(h)
    query = layers.Reshape((1, maps), name="query_one")(query)
    x = layers.Activation("tanh", name="attention_tanh")(keys + query)  # (batch, places, maps)
    x = layers.Dense(1, name="energy")(x)
    x = layers.Reshape((1, places), name="energy_flat")(x)
    weights = looked = layers.Softmax(name="attention")(x)  # (batch, 1, places)
    drawn = []
    if hard:
        drawn = [keras.Input((size,), name=one) for one, size in ((NOISE, places), (SOFT, 1))]
        noise, soft = (layers.Reshape((1, -1), name=f"{one.name}_one")(one) for one in drawn)
        best = ops.top_k(x + noise, 1)[1]  # (batch, 1, 1)
        every = np.arange(places, dtype="int32").reshape(1, 1, -1)
        # Of a cast, or of `one_hot`, the converter makes an operator that integers have not.
        peak = ops.where(
            ops.equal(ops.cast(best, "int32"), every), ops.ones_like(x), ops.zeros_like(x)
        )
        looked = peak + soft * (weights - peak)
    context = layers.Reshape((maps,), name="context")(ops.matmul(looked, seen))
    context = layers.Dense(1, "sigmoid", name="gate")(h) * context  # equation of section 4.2.1
    word = layers.Embedding(num_classes, embedding, name="embedding")(tokens)
    word = layers.Reshape((embedding,), name="embedding_one")(word)
    x = layers.Concatenate(name="lstm_input")([word, context])
    h, (h, c) = layers.LSTMCell(units, name="lstm")(x, [h, c])
    x = word + layers.Dense(embedding, name="state_out")(h)
    x = x + layers.Dense(embedding, name="context_out")(context)
    logits = layers.Dense(num_classes, name=LOGITS)(layers.Activation("tanh", name="out_tanh")(x))
    outputs = {
        LOGITS: logits,
        f"{NEXT}lstm_h": h,
        f"{NEXT}lstm_c": c,
        WEIGHTS: layers.Reshape((places,), name=WEIGHTS)(weights),
    }
    if hard:
        outputs[LOOKED] = layers.Reshape((places,), name=LOOKED)(peak)
    decoder = keras.Model([tokens, seen, keys, *states, *drawn], outputs, name="decoder")
    if not hard:
        return {"encoder": encoder, "decoder": decoder}
    one = keras.Input((1,), name="one")
    average = layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="average")(one)
    return {"encoder": encoder, "decoder": decoder, "baseline": keras.Model(one, average)}
