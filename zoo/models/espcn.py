"""ESPCN: three convolutions at the size of the small picture, the last of which draws r^2 pixels.

Source: Shi et al. 2016, arXiv:1609.05158, sections 3.2 and 3.3.1: (f1, n1) = (5, 64), (f2, n2) =
(3, 32), f3 = 3, tanh; the sub-pixel convolution's maps are shuffled into blocks of r x r pixels
(equation 4). Differs: one channel, of luminance; borders are padded with zeros. Of scale r it has

    25 * 64 + 64 + 9 * 64 * 32 + 32 + (9 * 32 + 1) r^2

parameters: 21,284, 22,729 and 24,752 for 2, 3 and 4.
"""

from __future__ import annotations

import keras
from keras import layers


def espcn(*, name: str, input_shape: tuple[int, ...], scale: int) -> keras.Model:
    """Returns a network that makes a picture `scale` times larger.

    It reads `image` (batch, height / scale, width / scale, channels), intensities in [0, 1], and
    answers `enhanced` (batch, height, width, channels).

    Args:
        name: Name of the network.
        input_shape: (height, width, channels) of the large picture, as the data have it.
        scale: Times that a side becomes longer.

    Raises:
        ValueError: The scale is below 1, or does not divide a side.
    """
    height, width, channels = input_shape
    if scale < 1 or height % scale or width % scale:
        near = max(height // max(scale, 1), 1) * max(scale, 1)
        raise ValueError(
            f"create({name!r}): input_shape got {input_shape} and scale {scale}; expected sides "
            f"that are multiples of the scale. Take data.size={near}."
        )
    rows, columns = height // scale, width // scale
    x = image = keras.Input((rows, columns, channels), name="image")
    x = layers.Conv2D(64, 5, padding="same", activation="tanh", name="features")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="tanh", name="mapping")(x)
    x = layers.Conv2D(scale**2 * channels, 3, padding="same", name="pixels")(x)
    # Each place holds its block, row by row.
    x = layers.Reshape((rows, columns, scale, scale * channels), name="blocks")(x)
    x = layers.Permute((1, 3, 2, 4), name="shuffle")(x)  # (batch, rows, scale, columns, ...)
    x = layers.Reshape((height, width, channels), name="enhanced")(x)
    return keras.Model(image, x, name=name)
