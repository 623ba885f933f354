"""VGG-11, -13, -16 and -19.

Source: Simonyan & Zisserman 2014, Very deep convolutional networks for large-scale image
recognition, arXiv:1409.1556, table 1, configurations A, B, D and E. Differs: He-normal kernels from
the start (the paper pre-trains net A). `batch_norm` is torchvision's variant: after every
convolution, which keeps its bias; momentum and epsilon are torchvision's too.
138,357,544 parameters for configuration D at 224x224x3.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

FILTERS = (64, 128, 256, 512, 512)  # of the convolutions in each stage


def vgg(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    convs: Sequence[int],
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> keras.Model:
    """Returns a VGG net: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 32.
        num_classes: Length of the output.
        convs: Convolutions in each of the five stages: a column of table 1.
        batch_norm: Whether a batch normalisation stands between each convolution and its ReLU.
        dropout: Fraction of the units of `fc6` and `fc7` dropped in training, in [0, 1).

    Raises:
        ValueError: `convs` is not five numbers.
    """
    image = keras.Input(input_shape, name="image")
    x = stages(image, convs, batch_norm=batch_norm)
    x = layers.Flatten(name="flatten")(x)  # (batch, 7 * 7 * 512) at 224x224
    for place in ("fc6", "fc7"):
        x = layers.Dense(4096, kernel_initializer="he_normal", name=place)(x)  # (batch, 4096)
        x = layers.ReLU(name=f"{place}_relu")(x)
        x = layers.Dropout(dropout, name=f"{place}_drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def stages(
    x: KerasTensor,
    convs: Sequence[int],
    *,
    filters: Sequence[int] = FILTERS,
    batch_norm: bool = False,
    last_pool: bool = True,
    pool_padding: str = "valid",
) -> KerasTensor:
    """The five stages of convolutions: (batch, h, w, channels) to (batch, h / 32, w / 32, 512).

    Args:
        x: Pictures.
        convs: Convolutions in each of the five stages: a column of table 1.
        filters: Maps of each stage.
        batch_norm: See `vgg`.
        last_pool: Whether the last stage is pooled too; detectors read what is not.
        pool_padding: `same` rounds half a side up, as Caffe does, `valid` down.

    Raises:
        ValueError: `convs` is not five numbers.
    """
    if len(convs) != len(FILTERS):
        raise ValueError(f"vgg: convs got {convs!r}; expected {len(FILTERS)} numbers, one a stage.")
    for stage, (depth, maps) in enumerate(zip(convs, filters, strict=True), start=1):
        for index in range(1, depth + 1):
            place = f"stage{stage}_conv{index}"
            x = layers.Conv2D(maps, 3, padding="same", kernel_initializer="he_normal", name=place)(
                x
            )
            if batch_norm:
                x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{place}_bn")(x)
            x = layers.ReLU(name=f"{place}_relu")(x)
        if stage < len(convs) or last_pool:  # half the height and width
            x = layers.MaxPooling2D(2, padding=pool_padding, name=f"stage{stage}_pool")(x)
    return x
