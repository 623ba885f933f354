"""PixelCNN and gated PixelCNN: each pixel from those before it, by convolutions.

Sources: van den Oord, Kalchbrenner & Kavukcuoglu 2016, Pixel recurrent neural networks,
arXiv:1601.06759, section 3.4, table 1, figure 5: a 7x7 convolution of mask A, then residual blocks
of mask B; van den Oord et al. 2016, Conditional image generation with PixelCNN decoders,
arXiv:1606.05328, section 2, figure 2: two stacks, so that no pixel before another is left out;
gates of tanh and sigmoid; the class added in the gates.
Differs: grey pictures only. Masks are made of plain convolutions (`zoo.models.raster`), which has
no weights to be multiplied by zero, so the counts are those of the weights that a mask leaves.

With h features, H of the head and K outputs a PixelCNN of n blocks on one channel has

    first   24 (2 h) + 2 h               7x7 has 24 places before its centre
    block   2 h h + h; 5 h h + h; h 2 h + 2 h
    head    2 h H + H; H K + K

`pixel_cnn`: 15 blocks of 128 features and 1,024 of the head, 2,490,113 parameters with a binary
pixel; `pixel_cnn_small`: 7 of 32, 64, 71,233. The gated net has, with f features and C classes,

    first   28 (2 f) + 2 f; 4 (2 f) + 2 f; 2 f 2 f + 2 f; f f + f         4x7 and 1x4
    block   6 f 2 f + 2 f;  2 f 2 f + 2 f; 2 f 2 f + 2 f; f f + f         2x3 and 1x2
    each of them 2 C (2 f) more of the class, the last one C (2 f): its rows have none below to tell
    head    f f + f; f K + K

138,849 for 6 blocks of 32 features; 147,169 with ten classes.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from zoo.layers import GatedActivation
from zoo.models import raster


def pixel_cnn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int = 1,
    features: int = 32,
    blocks: int = 7,
    head: int = 64,
) -> keras.Model:
    """Returns the net: `image` (batch, h, w, 1) to `logits` (batch, h, w, num_classes).

    The logits of a pixel depend on those above it and to its left.

    Args:
        name: Name of the model.
        input_shape: (height, width, 1).
        num_classes: Numbers that say how a pixel is distributed, e.g. 1 of a binary one.
        features: Channels within a block; between blocks there are twice as many.
        blocks: Residual blocks of mask B.
        head: Channels before the logits.
    """
    image = raster.grey(name, input_shape)
    x = raster.masked(image, 2 * features, 7, itself=False, name="first")
    for number in range(1, blocks + 1):
        place = f"block{number}"
        y = layers.ReLU(name=f"{place}_relu1")(x)
        y = layers.Conv2D(features, 1, kernel_initializer="he_normal", name=f"{place}_in")(y)
        y = layers.ReLU(name=f"{place}_relu2")(y)
        y = raster.masked(y, features, 3, itself=True, name=f"{place}_conv")
        y = layers.ReLU(name=f"{place}_relu3")(y)
        y = layers.Conv2D(2 * features, 1, name=f"{place}_out")(y)
        x = layers.Add(name=place)([x, y])
    return keras.Model(image, raster.head(x, head, num_classes), name=name)


def gated_pixel_cnn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int = 1,
    features: int = 32,
    blocks: int = 6,
    classes: int = 0,
) -> keras.Model:
    """Returns the net: `image` (batch, h, w, 1) to `logits` (batch, h, w, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, 1).
        num_classes: Numbers that say how a pixel is distributed, e.g. 1 of a binary one.
        features: Channels of each stack.
        blocks: Gated blocks of 3x3 behind the first one, of 7x7.
        classes: Classes that a picture may be asked for; then there is a second input, `label`
            (batch, classes), one-hot.
    """
    image = raster.grey(name, input_shape)
    label = keras.Input((classes,), name="label") if classes else None
    down, across = image, image
    for number in range(blocks + 1):
        down, across = _block(down, across, label, features, number)
    logits = raster.head(across, features, num_classes)
    inputs = image if label is None else [image, label]
    return keras.Model(inputs, logits, name=name)


def _block(
    down: KerasTensor, across: KerasTensor, label: KerasTensor | None, features: int, number: int
) -> tuple[KerasTensor, KerasTensor]:
    """The next of the vertical stack, which sees whole rows, and of the horizontal one.

    A place of the vertical stack knows its own row too, and tells it to the row below alone.
    """
    place, first = f"block{number}", number == 0
    side = 7 if first else 3
    reach = side // 2
    rows = raster.above(
        down, 2 * features, (reach + 1, side), own_row=True, name=f"{place}_vertical"
    )
    told = raster.moved_down(rows, name=f"{place}_told")
    told = layers.Conv2D(2 * features, 1, name=f"{place}_down")(told)
    pixels = reach + 1 if first else reach
    row = raster.left(across, 2 * features, pixels, itself=not first, name=f"{place}_horizontal")
    row = layers.Add(name=f"{place}_sum")([row, told])
    if label is not None:
        rows, row = (
            _asked(x, label, f"{place}_{stack}") for x, stack in ((rows, "rows"), (row, "row"))
        )
    down = GatedActivation(name=f"{place}_vertical_gate")(rows)
    row = GatedActivation(name=f"{place}_gate")(row)
    row = layers.Conv2D(features, 1, name=f"{place}_out")(row)
    return down, row if first else layers.Add(name=place)([row, across])


def _asked(x: KerasTensor, label: KerasTensor, name: str) -> KerasTensor:
    """Adds what a class adds everywhere in the gates (equation 4)."""
    width = x.shape[-1]
    told = layers.Dense(width, use_bias=False, name=f"{name}_class")(label)
    told = layers.Reshape((1, 1, width), name=f"{name}_class_map")(told)
    return layers.Add(name=f"{name}_asked")([x, told])
