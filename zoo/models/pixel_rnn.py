"""PixelRNN: each pixel from those before it, by LSTMs whose state is a line of the picture.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, Pixel recurrent neural networks,
arXiv:1601.06759, sections 3.1 to 3.3, table 1, figure 5: a 7x7 convolution of mask A to 2 h
features; layers whose input gives h features to each gate, whose state is brought back to 2 h by a
1x1 convolution and added to what went in; 1x1 convolutions to the end. MNIST: 7 layers of 16
features for the Diagonal BiLSTM, which is `diagonal_bilstm`.
Differs: grey pictures only; the head of `diagonal_bilstm` has 32 channels, a size of our own.

With h features, H of the head and K outputs, n layers on one channel have

    first      24 (2 h) + 2 h
    row        2 (2 h) (4 h) + 4 h of the input, 3 h (4 h) of the state, h 2 h + 2 h: 30 h h + 6 h
    diagonal   2 ((2 h) (4 h) + 4 h + 2 h (4 h)), h 2 h + 2 h: 34 h h + 10 h
    head       2 h H + H; H K + K

`row_lstm_small`: 5 layers of 16 and a head of 32, 40,769 parameters with a binary pixel.
`diagonal_bilstm`: 7 of 16, 32, 63,937; `diagonal_bilstm_small`: 2 of them, 19,617.
`multi_scale_small` has two nets of 3 layers, 25,217 each, and of what the second is told 16 h + h
and n h (4 h): 53,778.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import KerasTensor, layers

from zoo.layers import LineLSTM
from zoo.models import raster


def pixel_rnn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int = 1,
    along: Literal["row", "diagonal"] = "row",
    features: int = 16,
    blocks: int = 5,
    head: int = 32,
    skips: bool = False,
) -> keras.Model:
    """Returns the net: `image` (batch, h, w, 1) to `logits` (batch, h, w, num_classes).

    The logits of a pixel depend on those above it and to its left: a layer of a Row LSTM sees a
    triangle of the rows above and one pixel to the left, one of a Diagonal BiLSTM all of them.

    Args:
        name: Name of the model.
        input_shape: (height, width, 1).
        num_classes: Numbers that say how a pixel is distributed, e.g. 1 of a binary one.
        along: The Row LSTM, or the Diagonal BiLSTM.
        features: Channels of a state, of each direction; between layers there are twice as many.
        blocks: Recurrent layers.
        head: Channels before the logits.
        skips: Whether each layer also tells the head, and not only the next layer.
    """
    image = raster.grey(name, input_shape)
    layer = _row if along == "row" else _diagonals
    x = raster.masked(image, 2 * features, 7, itself=False, name="first")
    told = []
    for number in range(1, blocks + 1):
        place = f"layer{number}"
        line = layer(x, features, place)
        back = layers.Conv2D(2 * features, 1, name=f"{place}_out")(line)
        x = layers.Add(name=place)([x, back])
        if skips:
            told.append(layers.Conv2D(2 * features, 1, name=f"{place}_skip")(line))
    if told:
        x = layers.Add(name="skips")([x, *told])
    return keras.Model(image, raster.head(x, head, num_classes), name=name)


def multi_scale(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int = 1,
    features: int = 16,
    blocks: int = 3,
    head: int = 32,
) -> dict[str, keras.Model]:
    """Returns two Row LSTMs (section 3.6): of every second pixel, and of all, given those.

    `coarse`: `image` (batch, h / 2, w / 2, 1) to logits of the same height and width. `net`:
    `image` (batch, h, w, 1) and `coarse`, such a small picture, to logits (batch, h, w,
    num_classes): the small one is enlarged by a transposed convolution, and told to the gates of
    each layer by a 1x1 convolution, which sees what is behind a pixel too.

    Args:
        name: Name of the architecture; it opens an error line.
        input_shape: (height, width, 1); even sides.
        num_classes: Numbers that say how a pixel is distributed, e.g. 1 of a binary one.
        features: Channels of a state; between layers there are twice as many.
        blocks: Recurrent layers of each net.
        head: Channels before the logits.

    Raises:
        ValueError: A side is odd.
    """
    height, width, channels = input_shape
    if height % 2 or width % 2:
        raise ValueError(
            f"create({name!r}): input_shape got {tuple(input_shape)}; expected even sides, which "
            "a coarse picture halves."
        )
    half = (height // 2, width // 2, channels)
    first = pixel_rnn(
        name="coarse",
        input_shape=half,
        num_classes=num_classes,
        features=features,
        blocks=blocks,
        head=head,
    )
    image, coarse = raster.grey(name, input_shape), keras.Input(half, name="coarse")
    told = layers.Conv2DTranspose(features, 4, 2, "same", activation="relu", name="enlarged")(
        coarse
    )
    x = raster.masked(image, 2 * features, 7, itself=False, name="first")
    for number in range(1, blocks + 1):
        place = f"layer{number}"
        line = _row(x, features, place, told)
        back = layers.Conv2D(2 * features, 1, name=f"{place}_out")(line)
        x = layers.Add(name=place)([x, back])
    logits = raster.head(x, head, num_classes)
    return {"coarse": first, "net": keras.Model([image, coarse], logits, name="net")}


def _row(x: KerasTensor, features: int, place: str, told: KerasTensor | None = None) -> KerasTensor:
    """The state of a Row LSTM (batch, h, w, features), whose gates may be told something else."""
    gates = raster.left(x, 4 * features, 1, itself=True, name=f"{place}_gates")
    if told is not None:
        more = layers.Conv2D(4 * features, 1, use_bias=False, name=f"{place}_told")(told)
        gates = layers.Add(name=f"{place}_sum")([gates, more])
    return LineLSTM(features, along="row", name=f"{place}_lstm")(gates)


def _diagonals(x: KerasTensor, features: int, place: str) -> KerasTensor:
    """The sum of the states of both directions (batch, h, w, features)."""
    found = []
    for side, reverse in (("left", False), ("right", True)):
        gates = layers.Conv2D(4 * features, 1, name=f"{place}_{side}_gates")(x)
        lstm = LineLSTM(features, along="diagonal", reverse=reverse, name=f"{place}_{side}_lstm")
        found.append(lstm(gates))
    # It knows what is to the right of a pixel: it may tell the row below alone.
    found[1] = raster.moved_down(found[1], name=f"{place}_right_moved")
    return layers.Add(name=f"{place}_both")(found)
