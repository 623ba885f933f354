"""The network of fast style transfer: a picture becomes one in a manner that the network learnt.

Source: Johnson et al. 2016, arXiv:1603.08155, section 3.1, and its supplementary material, table 1:
9 x 9 x 32, two convolutions of stride 2, five residual blocks of 128 maps without a ReLU behind the
addition, two times larger twice, 9 x 9 x 3, batch normalisation everywhere but at the end. Differs:
what is made larger is repeated, then convolved (Odena et al. 2016, doi:10.23915/distill.00003), for
a transposed convolution, with as many parameters; borders are padded with zeros, also within the
blocks; a logistic end, which is the paper's scaled hyperbolic tangent of half the number. Of
f1, f2, f3 maps and n blocks it has

    (243 f1 + f1) + 2 (9 f1 f2 + 9 f2 f3) + (2 f2 + f3 + f1) + 2 n (9 f3^2 + f3) + (243 f1 + 3)

parameters in convolutions and 2 (2 f1 + 2 f2 + f3 + 2 n f3) in normalisations: 1,679,235 of the
paper's 32, 64, 128 and five; 276,675 of 16, 32, 64 and three.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

TIMES = 4  # that the maps in the middle are smaller


def fast_style(
    *, name: str, input_shape: tuple[int, ...], filters: Sequence[int] = (32, 64, 128),
    blocks: int = 5,
) -> keras.Model:  # fmt: skip
    """Returns a network from pictures to styled ones of the same size.

    It reads `image` (batch, height, width, channels), intensities in [0, 1], and answers `styled`
    alike.

    Args:
        name: Name of the network.
        input_shape: (height, width, channels); sides that are multiples of 4.
        filters: Maps at the picture's size, at half of it, and at a quarter.
        blocks: Residual blocks at a quarter.

    Raises:
        ValueError: A side is no multiple of 4, or there are not three numbers of maps.
    """
    height, width, channels = input_shape
    if height % TIMES or width % TIMES or len(filters) != 3 or blocks < 0:
        raise ValueError(
            f"create({name!r}): got input_shape {input_shape}, filters {tuple(filters)}, blocks "
            f"{blocks}; expected sides that are multiples of {TIMES}, three numbers of maps, 0 or "
            "more blocks."
        )
    wide, half, quarter = filters
    image = keras.Input(input_shape, name="image")
    x = _convolved(image, wide, 9, name="start")
    x = _convolved(x, half, 3, name="down1", strides=2)
    x = _convolved(x, quarter, 3, name="down2", strides=2)  # (batch, h / 4, w / 4, quarter)
    for block in range(1, blocks + 1):
        place = f"block{block}"
        inner = _convolved(x, quarter, 3, name=f"{place}_conv1")
        inner = _convolved(inner, quarter, 3, name=f"{place}_conv2", rectified=False)
        x = layers.Add(name=f"{place}_add")([x, inner])
    for step, maps in enumerate((half, wide), start=1):
        x = layers.UpSampling2D(2, name=f"up{step}_larger")(x)
        x = _convolved(x, maps, 3, name=f"up{step}")
    x = layers.Conv2D(channels, 9, padding="same", name="end")(x)
    styled = layers.Activation("sigmoid", dtype="float32", name="styled")(x)
    return keras.Model(image, styled, name=name)


def _convolved(
    x: KerasTensor, maps: int, side: int, *, name: str, strides: int = 1, rectified: bool = True
) -> KerasTensor:
    """A convolution, its normalisation, and a ReLU."""
    x = layers.Conv2D(
        maps, side, strides, padding="same", kernel_initializer="he_normal", name=name
    )(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if rectified else x
