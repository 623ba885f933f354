"""U-Net.

Source: Ronneberger, Fischer & Brox 2015, arXiv:1505.04597, section 2 and fig. 1; the dropout of one
half behind the last two levels of the contracting path, which the paper mentions, as the authors'
own network has it. Without padding, as in the paper, the answer is smaller than the picture, 388
for 572 pixels, and stands for its middle; `padding="same"` answers for every pixel. Differs: the
small variant pads, is narrower and less deep, and normalises; on a trunk, a classifier of the
catalogue, the contracting path is its maps, and there is no skip where it has none of a stride.
31,030,658 parameters at 572x572x1 with 2 classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import keras
from keras import KerasTensor, layers

from zoo.models.parts import norm
from zoo.models.trunk import trunk_maps


def unet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: int = 64,
    depth: int = 4,
    padding: Literal["valid", "same"] = "valid",
    batch_norm: bool = False,
    dropout: float = 0.5,
    trunk: str = "",
    trunk_settings: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Returns a U-Net: (batch, height, width, channels) to logits (batch, h, w, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels). With `valid` the sides are such that every map that
            is pooled has an even side, e.g. 188, 204 ... 572 at depth 4; with `same` they are
            multiples of 2**depth.
        num_classes: Number of classes of a pixel.
        width: Maps of the first level; each level has twice as many as the one above it.
        depth: How often the maps are pooled.
        padding: `valid` for the paper's, `same` for an answer of the picture's size.
        batch_norm: Whether a normalisation follows each 3x3 convolution.
        dropout: Rate behind the last two levels of the contracting path, in [0, 1); a trunk has its
            own.
        trunk: The row of the catalogue whose maps are the contracting path; none is the paper's.
        trunk_settings: Settings of the trunk's builder.

    Raises:
        ValueError: The sides do not fit, or a setting is out of range.
    """
    if width < 1 or depth < 1 or padding not in ("valid", "same") or not 0 <= dropout < 1:
        raise ValueError(
            f"unet: got width {width}, depth {depth}, padding {padding!r} and dropout {dropout}; "
            "expected 1 or more, 1 or more, valid or same, and a rate in [0, 1)."
        )
    for side in input_shape[:2]:
        _check(side, depth, padding)
    convs = partial(_convs, padding=padding, batch_norm=batch_norm)
    if trunk:
        image, maps = trunk_maps(trunk, input_shape, trunk_settings)
        if padding != "same" or 2**depth not in maps:
            raise ValueError(
                f"unet: got padding {padding!r} and depth {depth} on {trunk}, whose maps have "
                f"strides {', '.join(map(str, sorted(maps)))}; expected same, and a depth that "
                "leads to one of them."
            )
        x, skips = maps[2**depth], [maps.get(2**level) for level in range(depth)]
    else:
        image, x, skips = _contracted(input_shape, width, depth, dropout, convs)
    for level in reversed(range(depth)):
        place, filters = f"up{level + 1}", width << level
        x = layers.Conv2DTranspose(
            filters, 2, strides=2, kernel_initializer="he_normal", name=f"{place}_conv_up"
        )(x)  # (batch, 56, 56, 512) ...
        if (skip := skips[level]) is not None:
            skip = _cropped(skip, x, f"{place}_crop")
            x = layers.Concatenate(name=f"{place}_concat")([skip, x])
        x = convs(x, filters, place)  # (batch, 52, 52, 512) ... (batch, 388, 388, 64)
    logits = layers.Conv2D(num_classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _contracted(
    input_shape: tuple[int, ...], width: int, depth: int, dropout: float, convs: Callable[..., Any]
) -> tuple[KerasTensor, KerasTensor, list[KerasTensor | None]]:
    """A picture, its last maps, and those of each level before it is pooled."""
    image = keras.Input(input_shape, name="image")  # shapes below: at the paper's 572x572x1
    x, skips = image, []
    for level in range(depth):
        place = f"down{level + 1}"
        x = convs(x, width << level, place)  # (batch, 568, 568, 64) ...
        if level == depth - 1 and dropout:
            x = layers.Dropout(dropout, name=f"{place}_drop")(x)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"{place}_pool")(x)
    x = convs(x, width << depth, "bottom")  # (batch, 28, 28, 1024)
    if dropout:
        x = layers.Dropout(dropout, name="bottom_drop")(x)
    return image, x, skips


def answered(side: int, depth: int) -> int:
    """Returns the side of the answer for a picture without padding; 0 for one that does not fit."""
    for _ in range(depth):
        side -= 4  # two 3x3 convolutions
        if side < 2 or side % 2:
            return 0
        side //= 2
    side -= 4
    for _ in range(depth):
        side = 2 * side - 4
    return max(side, 0)


def _check(side: int, depth: int, padding: str) -> None:
    """Refuses a side whose maps cannot be halved evenly, and names the nearest that fits."""
    if padding == "same":
        if side % 2**depth or side < 2**depth:
            fit = max(1, round(side / 2**depth)) * 2**depth
            raise ValueError(
                f"unet: got a side of {side} pixels, which leaves a negative or odd map after "
                f"{depth} poolings; expected a multiple of {2**depth}, e.g. {fit}."
            )
    elif not answered(side, depth):
        smallest = next(n for n in range(1, 2**20) if answered(n, depth))
        step = 2**depth
        fit = smallest + max(0, round((side - smallest) / step)) * step
        raise ValueError(
            f"unet: got a side of {side} pixels, which leaves a negative or odd map without "
            f"padding; expected {smallest} and multiples of {step} more, e.g. {fit}. In a recipe: "
            f"data.size={fit}, or settings.padding=same."
        )


def _convs(
    x: KerasTensor, filters: int, place: str, *, padding: str, batch_norm: bool
) -> KerasTensor:
    """Two 3x3 convolutions, each with a ReLU."""
    for index in (1, 2):
        name = f"{place}_conv{index}"
        x = layers.Conv2D(
            filters,
            3,
            padding=padding,
            use_bias=not batch_norm,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        if batch_norm:
            x = norm(x, name=f"{name}_bn")
        x = layers.ReLU(name=f"{name}_relu")(x)
    return x


def _cropped(skip: KerasTensor, x: KerasTensor, name: str) -> KerasTensor:
    """The middle of a map, as large as another one."""
    spare = [big - small for big, small in zip(skip.shape[1:3], x.shape[1:3], strict=True)]
    if not any(spare):
        return skip
    sides = tuple((gap // 2, gap - gap // 2) for gap in spare)
    return layers.Cropping2D(sides, name=name)(skip)
