"""SqueezeNet 1.0 and 1.1.

Source: Iandola et al. 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB
model size, arXiv:1602.07360, table 1; version 1.1 is the authors' later release, with a smaller
`conv1` and earlier pooling (2.4 times fewer multiplications). As in their Caffe nets and in
torchvision, pooling rounds up, and the mean of the last maps, after their ReLU, is the logits.
1,248,424 parameters for 1.0 and 1,235,496 for 1.1, at 224x224x3.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from zoo.models.pooling import overlapping_pool

SQUEEZE = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # maps; each expands to 4 + 4
# Of each version: maps and side of `conv1`, and the modules that a pooling follows.
VERSIONS = {"1.0": (96, 7, (1, 4, 8)), "1.1": (64, 3, (1, 3, 5))}


def squeezenet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    version: str = "1.0",
    dropout: float = 0.5,
) -> keras.Model:
    """Returns a SqueezeNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 21 for 1.0, 17 for 1.1.
        num_classes: Length of the output.
        version: `1.0`, the paper's, or `1.1`.
        dropout: Fraction of the features before `conv10` dropped in training, in [0, 1).

    Raises:
        ValueError: The version is unknown.
    """
    if version not in VERSIONS:
        raise ValueError(
            f"squeezenet: version got {version!r}; expected one of {', '.join(VERSIONS)}."
        )
    filters, size, pooled = VERSIONS[version]
    image = keras.Input(input_shape, name="image")
    x = _conv(image, filters, size, "conv1", strides=2, padding="valid")
    x = overlapping_pool(x, name="pool1")
    for index, squeeze in SQUEEZE.items():
        x = _fire(x, squeeze, f"fire{index}")
        if index in pooled:
            x = overlapping_pool(x, name=f"pool{index}")  # half the height and width
    x = layers.Dropout(dropout, name="fire9_drop")(x)
    x = _conv(x, num_classes, 1, "conv10")
    logits = layers.GlobalAveragePooling2D(dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _fire(x: KerasTensor, squeeze: int, place: str) -> KerasTensor:
    """Few maps of 1x1 kernels feed many of 1x1 and 3x3: (..., channels) to (..., 8 * squeeze)."""
    x = _conv(x, squeeze, 1, f"{place}_squeeze")
    near = _conv(x, 4 * squeeze, 1, f"{place}_expand1")
    wide = _conv(x, 4 * squeeze, 3, f"{place}_expand3")
    return layers.Concatenate(name=place)([near, wide])


def _conv(
    x: KerasTensor, filters: int, size: int, place: str, *, strides: int = 1, padding: str = "same"
) -> KerasTensor:
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        kernel_initializer="he_normal",
        name=place,
    )(x)
    return layers.ReLU(name=f"{place}_relu")(x)
