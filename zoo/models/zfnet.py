"""ZFNet, as the paper draws it and as Caffe2 ships it.

Source: Zeiler & Fergus 2013, Visualizing and understanding convolutional networks, arXiv:1311.2901,
fig. 3: maps of 110, 55, 26, 13, 13, 13, 13 and 6 pixels a side at 224. Differs: the paper gives no
numbers for its contrast normalisation, so they are those of Krizhevsky et al. 2012; He-normal
kernels and zero biases. `caffe2` is the net that ONNX tests as `zfnet512`: no padding before the
first convolution, the normalisation before the pooling, pooling that rounds down, 2x2 at the end.
62,357,608 parameters at 224x224x3; 87,250,536 with 512 maps at the top and 1024 units in `fc7`.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from zoo.layers.lrn import LocalResponseNormalization
from zoo.models.pooling import overlapping_pool


def zfnet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    top: Sequence[int] = (384, 384, 256),
    units: Sequence[int] = (4096, 4096),
    caffe2: bool = False,
    dropout: float = 0.5,
) -> keras.Model:
    """Returns ZFNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 47, and 59 with `caffe2`.
        num_classes: Length of the output.
        top: Maps of the third, fourth and fifth convolution.
        units: Units of `fc6` and `fc7`.
        caffe2: Whether maps are cut and normalised as in Caffe2's net.
        dropout: Fraction of the units of `fc6` and `fc7` dropped in training, in [0, 1).

    Raises:
        ValueError: `top` is not three numbers, or `units` is not two.
    """
    if len(top) != 3 or len(units) != 2:
        raise ValueError(
            f"zfnet: top got {top!r} and units got {units!r}; expected three numbers of maps and "
            "two of units, e.g. (384, 384, 256) and (4096, 4096)."
        )
    x = image = keras.Input(input_shape, name="image")  # shapes below: the paper's, at 224x224x3
    if not caffe2:
        x = layers.ZeroPadding2D(1, name="stage1_pad")(x)
    x = _conv(96, 7, strides=2, name="stage1_conv")(x)  # (batch, 110, 110, 96)
    x = _reduce(x, "stage1", caffe2=caffe2)  # (batch, 55, 55, 96)
    x = _conv(256, 5, strides=2, name="stage2_conv")(x)  # (batch, 26, 26, 256)
    x = _reduce(x, "stage2", caffe2=caffe2)  # (batch, 13, 13, 256)
    for stage, filters in enumerate(top, start=3):
        x = _conv(filters, 3, padding="same", name=f"stage{stage}_conv")(x)
    if caffe2:
        x = layers.MaxPooling2D(2, name="stage5_pool")(x)
    else:
        x = overlapping_pool(x, name="stage5_pool")  # (batch, 6, 6, 256)
    x = layers.Flatten(name="flatten")(x)  # (batch, 9216)
    for place, width in zip(("fc6", "fc7"), units, strict=True):
        x = layers.Dense(width, "relu", kernel_initializer="he_normal", name=place)(x)
        x = layers.Dropout(dropout, name=f"{place}_drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _conv(
    filters: int, size: int, *, name: str, strides: int = 1, padding: str = "valid"
) -> layers.Conv2D:
    return layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )


def _reduce(x: KerasTensor, place: str, *, caffe2: bool) -> KerasTensor:
    """Halves the sides and normalises the contrast across the maps."""
    normalise = LocalResponseNormalization(name=f"{place}_norm")
    if caffe2:
        return layers.MaxPooling2D(3, strides=2, name=f"{place}_pool")(normalise(x))
    return normalise(overlapping_pool(x, name=f"{place}_pool"))
