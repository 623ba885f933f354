"""The up-convolutional generator of chairs: class, view and transformation to picture and mask.

Source: Dosovitskiy et al. 2015, Learning to generate chairs with convolutional neural networks,
arXiv:1411.5928, figure 2: each input passes two layers of 512 units of its own, the three together
two of 1024 and one that is a map of 8x8, which doubles until it is a picture of 128x128. A doubling
puts zeros between the values and convolves 5x5, which is one transposed convolution. Differs: both
answers come from the same last map; the widths 256, 256, 92, 48 and the 12 numbers of a
transformation are those of public re-implementations, not checked against the paper, and so is not
the leaky ReLU of slope 0.2, with which colours are learnt much sooner than with ReLU.
Of `chairs`, with 809 classes, 4 numbers of a view, and 25 weights in a kernel:

    streams   (809 + 4 + 12) 512 + 3 * 512 + 3 (512 * 512 + 512)
    together  1536 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 16384 + 16384
    doubled   25 (256 * 256 + 256 * 92 + 92 * 48 + 48 * 4) + 256 + 92 + 48 + 4

1,211,904 + 19,417,088 + 2,342,800 = 22,971,792 parameters. `chairs_small` doubles three times, from
4x4 to 32x32.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

KERNEL = 5


def chairs(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    view: int = 4,
    transform: int = 12,
    units: int = 512,
    joined: int = 1024,
    widths: Sequence[int] = (256, 256, 92, 48),
) -> keras.Model:
    """Returns the generator: three vectors to a picture and a mask.

    `label` (batch, num_classes), one-hot or a mixture, `view` (batch, view) and `transform` (batch,
    transform) to `image` (batch, height, width, channels), intensities that count where `mask`
    (batch, height, width), a probability, is large.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels) of the picture.
        num_classes: Number of classes.
        view: Numbers of a view.
        transform: Numbers of a transformation.
        units: Units of each layer of a stream.
        joined: Units of each of the two layers behind.
        widths: Channels of the maps; each is twice as large as the one before, the picture than
            the last.

    Raises:
        ValueError: The sides cannot be halved so often.
    """
    height, length, channels = input_shape
    times = 2 ** len(widths)
    if height % times or length % times:
        near = max(max(height, length) // times, 1) * times
        raise ValueError(
            f"create({name!r}): input_shape got {input_shape}; expected sides that are multiples"
            f" of {times}, for {len(widths)} doublings. Take data.size={near}."
        )
    inputs, streams = [], []
    for part, size in (("label", num_classes), ("view", view), ("transform", transform)):
        x = keras.Input((size,), name=part)
        inputs.append(x)
        for step in (1, 2):
            x = layers.Dense(units, "leaky_relu", name=f"{part}_fc{step}")(x)
        streams.append(x)
    x = layers.Concatenate(name="streams")(streams)  # (batch, 3 units)
    for step in (3, 4):
        x = layers.Dense(joined, "leaky_relu", name=f"fc{step}")(x)
    first = (height // times, length // times, widths[0])
    x = layers.Dense(first[0] * first[1] * first[2], "leaky_relu", name="fc5")(x)
    x = layers.Reshape(first, name="map")(x)
    for step, filters in enumerate(widths[1:], start=1):
        x = _doubled(filters, f"up{step}", "leaky_relu")(x)
    image = _doubled(channels, "image", None)(x)
    mask = _doubled(1, "mask_map", "sigmoid")(x)
    mask = layers.Reshape((height, length), name="mask")(mask)
    return keras.Model(inputs, {"image": image, "mask": mask}, name=name)


def _doubled(filters: int, name: str, activation: str | None) -> layers.Layer:
    return layers.Conv2DTranspose(
        filters, KERNEL, strides=2, padding="same", activation=activation, name=name
    )
