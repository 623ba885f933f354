"""Fully convolutional networks: FCN-32s, -16s and -8s.

Source: Long, Shelhamer & Darrell 2015, arXiv:1411.4038, section 4 and figure 3, on VGG-16: dense
layers as convolutions, scores of the last map, and where asked for of the fourth and third pooling,
added where they meet. Scores of the skips begin as zeros; what upsamples begins as bilinear
interpolation, and the last of it stays so, as in section 4. The picture is padded by 100 pixels and
the answer cropped, as in the authors' networks. Differs: the small variants, for pictures of 64
pixels, pad as usual, are narrow, and normalise. What upsamples is set, not initialised: it is zero
in what `clone_model` gives until weights are loaded.
Other classifiers are built on too (the paper has AlexNet and GoogLeNet): the scores of their last
maps, of the finer ones where asked for, and bilinear upsampling that stays so; with a convolution
before the scores, on a ResNet that dilates, this is torchvision's form, of 32,957,013 parameters.
134,346,581 parameters learn in FCN-32s of 21 classes; FCN-8s has 134,489,759 with its upsampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import KerasTensor, layers

from zoo.catalog import find_architecture
from zoo.models.parts import conv, norm
from zoo.models.trunk import is_vgg, trunk_maps
from zoo.models.vgg import FILTERS, stages

STRIDES = (32, 16, 8)
SKIPS = {16: 4, 8: 3}  # the stage whose pooling has this stride
# Where what is cropped begins, with 100 pixels around the picture; the authors' offsets.
SKIP_OFFSETS = {16: 5, 8: 9}
OFFSETS = {32: 19, 16: 27, 8: 31}


def fcn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    stride: int = 8,
    trunk: str = "",
    trunk_settings: Mapping[str, Any] | None = None,
    convs: Sequence[int] = (2, 2, 3, 3, 3),
    filters: Sequence[int] = (64, 128, 256, 512, 512),
    units: int = 4096,
    window: int = 7,
    pad: Literal[0, 100] = 100,
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> keras.Model:
    """Returns an FCN: (batch, height, width, channels) to logits (batch, height, width, classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); without `pad` multiples of 32; on another trunk than
            VGG, of the stride of its last maps.
        num_classes: Number of classes of a pixel.
        stride: Pixels between the finest scores: 32, 16 or 8; on another trunk any of its maps'.
        trunk: The row of the catalogue that is built on; none is the five stages that `convs` and
            `filters` say, which are VGG-16's.
        trunk_settings: Settings of the trunk's builder.
        convs: Convolutions in each of the five stages.
        filters: Maps of each stage.
        units: Maps of the two convolutions that were dense layers; on another trunk than VGG of one
            convolution of 3x3, with a normalisation, or 0 for none.
        window: Side of the first of the two. A VGG that learnt with pictures of 32 pixels has 1.
        pad: Pixels around the picture; 0 pads within each convolution.
        batch_norm: Whether a normalisation follows each convolution of the stages.
        dropout: Rate behind those two, in [0, 1).

    Raises:
        ValueError: The stride is unknown, or the sides do not fit.
    """
    if trunk and not is_vgg(trunk):
        image, maps = trunk_maps(trunk, input_shape, trunk_settings)
        logits = _on_maps(image, maps, num_classes, stride, units=units, dropout=dropout)
        return keras.Model(image, logits, name=name)
    if trunk:
        chosen = {**find_architecture(trunk).settings, **(trunk_settings or {})}
        convs, filters = chosen["convs"], FILTERS
        batch_norm = chosen.get("batch_norm", False)
    if stride not in STRIDES or pad not in (0, 100):
        raise ValueError(
            f"fcn: got stride {stride} and pad {pad}; expected one of {STRIDES}, and 0 or 100."
        )
    height, width = input_shape[:2]
    if not pad and (height % 32 or width % 32):
        raise ValueError(
            f"fcn: got a picture of {height}x{width} pixels; expected multiples of 32, e.g. "
            f"{max(1, round(height / 32)) * 32}x{max(1, round(width / 32)) * 32}."
        )
    image = keras.Input(input_shape, name="image")  # shapes below: at 500x500x3
    # The first convolution pads by one pixel itself.
    x = layers.ZeroPadding2D(pad - 1, name="pad")(image) if pad else image
    pool = "same" if pad else "valid"
    x = stages(x, convs, filters=filters, batch_norm=batch_norm, pool_padding=pool)
    whole = keras.Model(image, x)
    for place, size in (("fc6", window), ("fc7", 1)):
        x = layers.Conv2D(
            units,
            size,
            padding="valid" if pad else "same",
            kernel_initializer="he_normal",
            name=place,
        )(x)  # (batch, 16, 16, 4096)
        x = layers.ReLU(name=f"{place}_relu")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"{place}_drop")(x)
    x = layers.Conv2D(num_classes, 1, name="score")(x)
    at = 32
    while at > stride:
        at //= 2
        x = _up(x, num_classes, 2, f"score{at}_up", trainable=True, padded=not pad)
        skip = whole.get_layer(f"stage{SKIPS[at]}_pool").output
        found = layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name=f"score{at}_skip")(
            skip
        )
        found = _cropped(found, x, SKIP_OFFSETS[at], f"score{at}_crop")
        x = layers.Add(name=f"score{at}")([found, x])
    x = _up(x, num_classes, at, "up", trainable=False, padded=not pad)
    x = _cropped(x, image, OFFSETS[stride], "crop")
    logits = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _on_maps(
    image: KerasTensor,
    maps: Mapping[int, KerasTensor],
    num_classes: int,
    stride: int,
    *,
    units: int,
    dropout: float,
) -> KerasTensor:
    """The scores of a trunk's maps, brought to the size of the picture."""
    at = max(maps)
    if stride not in maps or any(side % at for side in image.shape[1:3]):
        raise ValueError(
            f"fcn: got stride {stride} and a picture of {image.shape[1]}x{image.shape[2]} pixels; "
            f"expected one of {', '.join(map(str, sorted(maps)))}, and multiples of {at}."
        )
    x = maps[at]
    if units:
        x = conv(x, units, 3, name="head_conv")
        x = norm(x, name="head_conv_bn", relu="head_conv_relu")
        if dropout:
            x = layers.Dropout(dropout, name="head_drop")(x)
    x = layers.Conv2D(num_classes, 1, name="score")(x)
    for finer in sorted((one for one in maps if stride <= one < at), reverse=True):
        x = layers.UpSampling2D(at // finer, interpolation="bilinear", name=f"score{finer}_up")(x)
        found = layers.Conv2D(
            num_classes, 1, kernel_initializer="zeros", name=f"score{finer}_skip"
        )(maps[finer])
        x = layers.Add(name=f"score{finer}")([found, x])
        at = finer
    if at > 1:
        x = layers.UpSampling2D(at, interpolation="bilinear", name="up")(x)
    return layers.Activation("linear", dtype="float32", name="logits")(x)


def bilinear(side: int, channels: int) -> np.ndarray:
    """Returns the kernel of a transposed convolution that interpolates, (side, side, c, c).

    Args:
        side: Twice the factor, as in the authors' networks.
        channels: Number of maps; each is interpolated by itself.
    """
    factor = (side + 1) // 2
    middle = factor - (1.0 if side % 2 else 0.5)
    along = 1 - np.abs(np.arange(side) - middle) / factor
    kernel = np.zeros((side, side, channels, channels), np.float32)
    kernel[:, :, np.arange(channels), np.arange(channels)] = np.outer(along, along)[..., None]
    return kernel


def _up(
    x: KerasTensor, maps: int, factor: int, name: str, *, trainable: bool, padded: bool
) -> KerasTensor:
    layer = layers.Conv2DTranspose(
        maps,
        2 * factor,
        strides=factor,
        padding="same" if padded else "valid",
        use_bias=False,
        kernel_initializer="zeros",
        trainable=trainable,
        name=name,
    )
    y = layer(x)
    layer.kernel.assign(bilinear(2 * factor, maps))
    return y


def _cropped(x: KerasTensor, other: KerasTensor, offset: int, name: str) -> KerasTensor:
    """The part of a map that lies over another one; without padding, all of it."""
    spare = [big - small for big, small in zip(x.shape[1:3], other.shape[1:3], strict=True)]
    if not any(spare):
        return x
    return layers.Cropping2D(tuple((offset, gap - offset) for gap in spare), name=name)(x)
