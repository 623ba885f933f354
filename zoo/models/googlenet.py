"""GoogLeNet: inception modules, with response normalisation or with batch normalisation.

Source: Szegedy et al. 2014, Going deeper with convolutions, arXiv:1409.4842, table 1 and fig. 3;
size, k, alpha and beta of the response normalisation, which the paper leaves open, are those of
Caffe's net, as is pooling that rounds up. 6,998,552 parameters at 224x224x3 without the auxiliary
heads, 13,378,280 with them. Differs: He-normal kernels.
`batch_norm` is torchvision's form: a batch normalisation after each convolution in place of biases
and response normalisation, 3x3 kernels in the 5x5 branch, 2x2 windows in the last pooling, heads on
4x4 means. 6,624,904 parameters, 13,004,888 with the heads.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from zoo.layers.lrn import LocalResponseNormalization
from zoo.models.pooling import overlapping_pool

# Table 1: maps of the 1x1 branch, the 3x3 branch (reduced, then 3x3), the 5x5 branch (the same) and
# the pooled branch.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
HEADS = {"4a": "auxiliary1", "4d": "auxiliary2"}  # what an auxiliary head looks at


def googlenet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    batch_norm: bool = False,
    auxiliary: bool = False,
    dropout: float = 0.4,
) -> keras.Model:
    """Returns GoogLeNet: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 31, and 15 with `batch_norm`.
        num_classes: Length of the output.
        batch_norm: Whether to build torchvision's form.
        auxiliary: Whether to add the two heads that only training uses. The outputs are then
            a mapping of `logits`, `auxiliary1` and `auxiliary2`, each (batch, num_classes).
        dropout: Fraction of the last features dropped in training, in [0, 1). The paper has 0.4,
            torchvision 0.2; both drop 0.7 in the heads.
    """
    image = keras.Input(input_shape, name="image")  # shapes below: at 224x224x3
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = _conv(x, 64, 7, "conv1", batch_norm, strides=2, padding="valid")  # (batch, 112, 112, 64)
    x = overlapping_pool(x, name="pool1")  # (batch, 56, 56, 64)
    x = x if batch_norm else _normalise(x, "pool1_norm")
    x = _conv(x, 64, 1, "conv2_reduce", batch_norm)
    x = _conv(x, 192, 3, "conv2", batch_norm)  # (batch, 56, 56, 192)
    x = x if batch_norm else _normalise(x, "conv2_norm")
    x = overlapping_pool(x, name="pool2")  # (batch, 28, 28, 192)
    heads = {}
    for place, widths in INCEPTIONS.items():
        x = _inception(x, widths, f"inception{place}", batch_norm)
        if auxiliary and place in HEADS:
            heads[HEADS[place]] = _head(x, num_classes, HEADS[place], batch_norm)
        if place == "3b":
            x = overlapping_pool(x, name="pool3")  # (batch, 14, 14, 480)
        elif place == "4e" and batch_norm:
            x = layers.MaxPooling2D(2, padding="same", name="pool4")(x)  # rounds up
        elif place == "4e":
            x = overlapping_pool(x, name="pool4")  # (batch, 7, 7, 832)
    x = layers.GlobalAveragePooling2D(name="pool5")(x)  # (batch, 1024)
    x = layers.Dropout(dropout, name="pool5_drop")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, {"logits": logits, **heads} if auxiliary else logits, name=name)


def _inception(
    x: KerasTensor, widths: tuple[int, ...], place: str, batch_norm: bool
) -> KerasTensor:
    """Four branches over the same maps, side by side in the output."""
    ones, reduce3, threes, reduce5, fives, pooled = widths
    size = 3 if batch_norm else 5  # torchvision's 5x5 branch has 3x3 kernels, a known slip
    branch3 = _conv(x, reduce3, 1, f"{place}_3x3_reduce", batch_norm)
    branch5 = _conv(x, reduce5, 1, f"{place}_5x5_reduce", batch_norm)
    branch_pool = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{place}_pool")(x)
    branches = [
        _conv(x, ones, 1, f"{place}_1x1", batch_norm),
        _conv(branch3, threes, 3, f"{place}_3x3", batch_norm),
        _conv(branch5, fives, size, f"{place}_5x5", batch_norm),
        _conv(branch_pool, pooled, 1, f"{place}_pool_proj", batch_norm),
    ]
    return layers.Concatenate(name=place)(branches)


def _head(x: KerasTensor, num_classes: int, place: str, batch_norm: bool) -> KerasTensor:
    """A small classifier on the maps in the middle, (batch, 14, 14, 512 or 528) at 224x224."""
    if batch_norm:
        x = layers.AdaptiveAveragePooling2D(4, name=f"{place}_pool")(x)  # (batch, 4, 4, channels)
    else:
        # The paper's 5x5 windows at stride 3; those of a smaller map reach over its edge, and
        # average what there is.
        padding = "valid" if min(x.shape[1:3]) >= 5 else "same"
        x = layers.AveragePooling2D(5, strides=3, padding=padding, name=f"{place}_pool")(x)
    x = _conv(x, 128, 1, f"{place}_conv", batch_norm)
    x = layers.Flatten(name=f"{place}_flatten")(x)  # (batch, 2048)
    x = layers.Dense(1024, "relu", kernel_initializer="he_normal", name=f"{place}_fc")(x)
    x = layers.Dropout(0.7, name=f"{place}_drop")(x)
    return layers.Dense(num_classes, dtype="float32", name=place)(x)


def _conv(
    x: KerasTensor,
    filters: int,
    size: int,
    place: str,
    batch_norm: bool,
    *,
    strides: int = 1,
    padding: str = "same",
) -> KerasTensor:
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=not batch_norm,
        kernel_initializer="he_normal",
        name=place,
    )(x)
    if batch_norm:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{place}_bn")(x)
    return layers.ReLU(name=f"{place}_relu")(x)


def _normalise(x: KerasTensor, name: str) -> KerasTensor:
    # Caffe's alpha of 1e-4 multiplies a mean over five maps; ours multiplies their sum.
    return LocalResponseNormalization(size=5, k=1.0, alpha=1e-4 / 5, beta=0.75, name=name)(x)
