"""SegNet and the deconvolution network: an encoder, and its mirror image.

Sources: Badrinarayanan, Kendall & Cipolla 2015, SegNet, arXiv:1511.00561, section 3; Noh, Hong &
Han 2015, arXiv:1505.04366, section 3 and table 2. Both are VGG-16 and its reverse; a map grows by
putting each value back to where the largest of its window stood. Differs: `unpooling="nails"` puts
it at the upper left of its window; the small variants are narrow and less deep.
29,434,060 parameters with 12 classes and 251,772,245 with 21, and those of the normalisations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
from keras import KerasTensor, layers

from zoo.layers.bed_of_nails import BedOfNails2D
from zoo.layers.unpooling import MaxPoolingWithIndices2D, MaxUnpooling2D
from zoo.models.parts import norm

Unpooling = Literal["indices", "nails"]


def segnet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    convs: Sequence[int] = (2, 2, 3, 3, 3),
    filters: Sequence[int] = (64, 128, 256, 512, 512),
    units: int = 0,
    window: int = 7,
    unpooling: Unpooling = "indices",
    batch_norm: bool = True,
) -> keras.Model:
    """Returns a SegNet: (batch, height, width, channels) to logits (batch, height, width, classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides that are multiples of 2**stages.
        num_classes: Number of classes of a pixel.
        convs: Convolutions in each stage of the encoder.
        filters: Maps of each stage.
        units: Maps of the two convolutions in the middle, VGG-16's dense layers; 0 for none, as in
            SegNet.
        window: Side of the first of them, which is that of the last pooled map, so that it becomes
            a vector.
        unpooling: Where a value goes that grows: to the place that pooling kept, or to the first.
        batch_norm: Whether a normalisation follows each convolution.

    Raises:
        ValueError: The sides do not fit, or a setting is unknown.
    """
    if unpooling not in ("indices", "nails") or len(convs) != len(filters):
        raise ValueError(
            f"segnet: got unpooling {unpooling!r}, convs {tuple(convs)}, filters {tuple(filters)}; "
            "expected indices or nails, and as many numbers in both."
        )
    least = 2 ** len(convs)
    for side in input_shape[:2]:
        if side % least or (units and side != least * window):
            wanted = f"{least * window}" if units else f"a multiple of {least}"
            raise ValueError(f"segnet: got a side of {side} pixels; expected {wanted}.")

    def unit(
        x: KerasTensor, maps: int, size: int, place: str, padding: str = "same"
    ) -> KerasTensor:
        kind = layers.Conv2DTranspose if place.startswith("up") and units else layers.Conv2D
        x = kind(maps, size, padding=padding, kernel_initializer="he_normal", name=f"{place}")(x)
        if batch_norm:
            x = norm(x, name=f"{place}_bn")
        return layers.ReLU(name=f"{place}_relu")(x)

    image = x = keras.Input(input_shape, name="image")
    places = []
    for stage, (depth, maps) in enumerate(zip(convs, filters, strict=True), start=1):
        for index in range(1, depth + 1):
            x = unit(x, maps, 3, f"stage{stage}_conv{index}")
        x, where = MaxPoolingWithIndices2D(2, name=f"stage{stage}_pool")(x)
        places.append(where)
    if units:
        x = unit(x, units, window, "fc6", "valid")  # (batch, 1, 1, 4096)
        x = unit(x, units, 1, "fc7")
        x = unit(x, filters[-1], window, "up_fc6", "valid")  # (batch, 7, 7, 512)
    for stage in range(len(convs), 0, -1):
        if unpooling == "indices":
            x = MaxUnpooling2D(2, name=f"up{stage}_unpool")([x, places[stage - 1]])
        else:
            x = BedOfNails2D(2, name=f"up{stage}_unpool")(x)
        depth = convs[stage - 1]
        for index in range(1, depth + 1):
            # The last of a stage has as many maps as the stage that comes next.
            last = index == depth and stage > 1
            maps = filters[stage - 2] if last else filters[stage - 1]
            if stage == 1 and index == depth and not units:
                continue  # SegNet's last convolution gives the scores
            x = unit(x, maps, 3, f"up{stage}_conv{index}")
    size = 1 if units else 3
    logits = layers.Conv2D(num_classes, size, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
