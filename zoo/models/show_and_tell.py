"""Show and Tell: a CNN's view of a picture is the first word that an LSTM reads.

Source: Vinyals et al. 2014, Show and tell: a neural image caption generator, arXiv:1411.4555,
section 3 and equations 4 to 12: the picture at t = -1 only, 512 units of the LSTM and of the
embedding. Differs: the paper's CNN, the batch-normalised Inception of Ioffe & Szegedy, is
torchvision's batch-normalised GoogLeNet here (`zoo.models.googlenet`); gates have biases, as usual.
The paper does not state its vocabulary; 12,000 words are its authors' own of 2016 (im2txt).
20,523,904 parameters: GoogLeNet without its classifier 5,599,904; picture 1024 * 512 + 512; words
12,000 * 512; LSTM 4 * 512 * (512 + 512 + 1) = 2,099,200; scores of the words 512 * 12,000 + 12,000.

The small one has the trunk of `caption_maps`, of 203,688 parameters: 3x3 kernels of 3-24-24-48-48-
48-48-96-96 maps, each with two numbers of its normalisation. Its 1,378,243 at 64x64 with 27 words:
beside the trunk, a convolution 96 * 128 * 9 + 256; picture 4 * 4 * 128 * 256 + 256; words 27 * 256;
LSTM 4 * 256 * (256 + 256 + 1); scores 256 * 27 + 27.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from zoo.common.sentences import PADDING
from zoo.common.tensors import LOGITS, NEXT, PICTURE, TOKENS
from zoo.models.googlenet import googlenet
from zoo.models.parts import conv, norm
from zoo.models.pyramid import scene_maps

WIDTH = 48  # maps of the small trunk


def show_and_tell(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    trunk: str = "googlenet_bn",
    units: int = 512,
    dropout: float = 0.0,
) -> dict[str, keras.Model]:
    """Returns the two networks of a captioner.

    `encoder`: an image (batch, height, width, channels) to its `picture` (batch, units). `decoder`,
    one step: `tokens` (batch, 1), the picture and the states `lstm_h` and `lstm_c` (batch, units)
    to `logits` (batch, words) of the next word, `next_lstm_h` and `next_lstm_c`. Where the token is
    padding, the LSTM reads the picture in a word's place: that is the step at t = -1.

    Args:
        name: Not used: the networks are called by what they do.
        input_shape: (height, width, channels).
        num_classes: Words of the vocabulary, with the marks of `zoo.common.sentences`.
        trunk: `googlenet_bn`, or `scene` of the small one.
        units: Of the LSTM and of the embedding.
        dropout: Fraction of the picture's features dropped in training, in [0, 1).

    Raises:
        ValueError: The trunk is unknown.
    """
    if trunk == "googlenet_bn":
        net = googlenet(name=trunk, input_shape=input_shape, num_classes=1, batch_norm=True)
        image, x = net.inputs[0], net.get_layer("pool5").output  # (batch, 1024)
    elif trunk == "scene":
        image, x = caption_maps(input_shape)
        x = norm(conv(x, 128, 3, strides=2, name="conv9"), name="conv9_bn", relu="conv9_relu")
        x = layers.Flatten(name="flatten")(x)  # (batch, 4 * 4 * 128) at 64x64
    else:
        raise ValueError(f"trunk: got {trunk!r}; expected googlenet_bn or scene.")
    x = layers.Dropout(dropout, name="picture_drop")(x)
    picture = layers.Dense(units, name=PICTURE)(x)
    encoder = keras.Model(image, {PICTURE: picture}, name="encoder")
    return {"encoder": encoder, "decoder": word_step(num_classes, units)}


def word_step(num_classes: int, units: int) -> keras.Model:
    """Returns the `decoder` of `show_and_tell`, which see.

    Args:
        num_classes: Words of the vocabulary, with the marks.
        units: Of the LSTM, of the embedding and of the picture.
    """
    tokens = keras.Input((1,), dtype="int32", name=TOKENS)
    picture = keras.Input((units,), name=PICTURE)
    states = [keras.Input((units,), name=state) for state in ("lstm_h", "lstm_c")]
    word = layers.Embedding(num_classes, units, name="embedding")(tokens)  # (batch, 1, units)
    word = layers.Reshape((units,), name="embedding_one")(word)
    first = ops.cast(ops.equal(tokens, PADDING), "float32")  # (batch, 1)
    x, (h, c) = layers.LSTMCell(units, name="lstm")(word + first * (picture - word), states)
    logits = layers.Dense(num_classes, name=LOGITS)(x)
    outputs = {LOGITS: logits, f"{NEXT}lstm_h": h, f"{NEXT}lstm_c": c}
    return keras.Model([tokens, picture, *states], outputs, name="decoder")


def caption_maps(input_shape: tuple[int, ...]) -> tuple[KerasTensor, KerasTensor]:
    """Returns a picture and maps of stride 8, (batch, 8, 8, 96) at 64x64."""
    image, x = scene_maps(input_shape, WIDTH)
    for place, strides in (("conv7", 2), ("conv8", 1)):
        x = conv(x, 2 * WIDTH, 3, strides=strides, name=place)
        x = norm(x, name=f"{place}_bn", relu=f"{place}_relu")
    return image, x
