"""Convolutions that see only what comes before a pixel in raster order, of ordinary layers.

A masked convolution (van den Oord et al. 2016, arXiv:1601.06759, section 3.4) multiplies a kernel
by zeros. Its other weights are two rectangles, that of the rows above and that of the row itself up
to the pixel, so that it equals the sum of two plain convolutions of a moved picture: fewer
products, and nothing that compression or export does not know.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, layers


def above(
    x: KerasTensor, filters: int, size: tuple[int, int], *, own_row: bool, name: str, **options: Any
) -> KerasTensor:
    """Returns a convolution of the rows above a pixel, to either side: (batch, h, w, filters).

    Args:
        x: (batch, h, w, channels).
        filters: Channels of the answer.
        size: Height and width of what is seen, in pixels; the width is odd.
        own_row: Whether the last of these rows is that of the pixel itself.
        name: Name of the convolution.
        **options: Of `keras.layers.Conv2D`.
    """
    rows, columns = size
    side = columns // 2
    x = layers.ZeroPadding2D(((rows - own_row, 0), (side, side)), name=f"{name}_pad")(x)
    if not own_row:
        x = layers.Cropping2D(((0, 1), (0, 0)), name=f"{name}_crop")(x)
    return layers.Conv2D(filters, size, name=name, **options)(x)


def left(
    x: KerasTensor, filters: int, pixels: int, *, itself: bool, name: str, **options: Any
) -> KerasTensor:
    """Returns a convolution of the row up to a pixel: (batch, h, w, filters).

    Args:
        x: (batch, h, w, channels).
        filters: Channels of the answer.
        pixels: Pixels seen before it.
        itself: Whether it is seen too.
        name: Name of the convolution.
        **options: Of `keras.layers.Conv2D`.
    """
    x = layers.ZeroPadding2D(((0, 0), (pixels, 0)), name=f"{name}_pad")(x)
    if not itself:
        x = layers.Cropping2D(((0, 0), (0, 1)), name=f"{name}_crop")(x)
    return layers.Conv2D(filters, (1, pixels + itself), name=name, **options)(x)


def masked(
    x: KerasTensor, filters: int, size: int, *, itself: bool, name: str, **options: Any
) -> KerasTensor:
    """Returns a masked convolution: of mask B where the pixel itself is seen, else of mask A.

    Args:
        x: (batch, h, w, channels).
        filters: Channels of the answer.
        size: Side of the kernel, odd.
        itself: Whether the pixel itself is seen.
        name: Name of the sum; the convolutions are `NAME_above` and `NAME_left`.
        **options: Of `keras.layers.Conv2D`.
    """
    half = size // 2
    options = {"kernel_initializer": "he_normal", **options}
    one = above(
        x, filters, (half, size), own_row=False, name=f"{name}_above", use_bias=False, **options
    )
    other = left(x, filters, half, itself=itself, name=f"{name}_left", **options)
    return layers.Add(name=name)([one, other])


def moved_down(x: KerasTensor, *, name: str) -> KerasTensor:
    """Returns each row at the place of the next; the first is zero."""
    x = layers.ZeroPadding2D(((1, 0), (0, 0)), name=f"{name}_pad")(x)
    return layers.Cropping2D(((0, 1), (0, 0)), name=f"{name}_crop")(x)


def head(x: KerasTensor, features: int, outputs: int) -> KerasTensor:
    """Returns the last layers: ReLU and a 1x1 convolution, twice; `logits` (batch, h, w, outputs).

    Args:
        x: (batch, h, w, channels).
        features: Channels between the two.
        outputs: Numbers that say how a pixel is distributed.
    """
    x = layers.ReLU(name="head_relu1")(x)
    x = layers.Conv2D(features, 1, kernel_initializer="he_normal", name="head_conv")(x)
    x = layers.ReLU(name="head_relu2")(x)
    return layers.Conv2D(outputs, 1, name="logits")(x)


def grey(name: str, input_shape: tuple[int, ...]) -> keras.KerasTensor:
    """Returns the input, a grey picture.

    Raises:
        ValueError: It has several channels, whose order would have to be said too.
    """
    if input_shape[-1] != 1:
        raise ValueError(
            f"create({name!r}): input_shape got {tuple(input_shape)}; expected one channel, of "
            "grey pictures. In a recipe: data.channels=1."
        )
    return keras.Input(input_shape, name="image")
