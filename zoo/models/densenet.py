"""DenseNet-121, -161, -169 and -201, and the smaller DenseNets for CIFAR.

Source: Huang, Liu, van der Maaten & Weinberger 2016, Densely connected convolutional networks,
arXiv:1608.06993, table 1 and section 3. The larger nets equal torchvision's, and those of
`keras.applications` with their epsilon. Differs: nothing.
7,978,856 parameters for DenseNet-121 at 224x224x3; 769,162 for DenseNet-BC-100-12 at 32x32x3.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from zoo.models.parts import conv, norm

STAGES = 4  # dense blocks of the larger nets; those for CIFAR have 3


def densenet(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    blocks: Sequence[int],
    growth: int = 32,
    dropout: float = 0.0,
    epsilon: float = 1e-5,
) -> keras.Model:
    """Returns a DenseNet-BC: (batch, height, width, channels) to logits (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 29.
        num_classes: Length of the output.
        blocks: Layers in each of the four dense blocks: a column of table 1.
        growth: Maps that each layer adds: k.
        dropout: Fraction dropped behind each convolution but the first in training, in [0, 1).
        epsilon: Added to the variances; `keras.applications` has 1.001e-5.

    Raises:
        ValueError: `blocks` is not four numbers.
    """
    if len(blocks) != STAGES:
        raise ValueError(f"densenet: blocks got {blocks!r}; expected {STAGES} numbers.")
    image = keras.Input(input_shape, name="image")  # shapes below: DenseNet-121 at 224x224
    x = conv(image, 2 * growth, 7, strides=2, name="stem_conv")  # (batch, 112, 112, 64)
    x = norm(x, name="stem_conv_bn", relu="stem_conv_relu", epsilon=epsilon)
    # After a ReLU the zeros of the padding are never the largest.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)  # (batch, 56, 56, 64)
    x = _dense(
        x, blocks, growth, bottleneck=True, compression=0.5, dropout=dropout, epsilon=epsilon
    )
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def densenet_cifar(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int,
    growth: int = 12,
    bottleneck: bool = False,
    compression: float = 1.0,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a DenseNet for CIFAR: (batch, height, width, channels) to logits.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 4.
        num_classes: Length of the output.
        depth: Layers with weights, 3n + 4, or 6n + 4 with bottlenecks: three blocks of n layers.
        growth: Maps that each layer adds: k.
        bottleneck: Whether a 1x1 convolution to 4k maps stands before each 3x3.
        compression: Fraction of the maps that a transition keeps, in (0, 1]; 0.5 in a BC net.
        dropout: Fraction dropped behind each convolution but the first in training, in [0, 1); the
            paper has 0.2 where there is no augmentation.

    Raises:
        ValueError: `depth` has another form, or `compression` is not in (0, 1].
    """
    step = 6 if bottleneck else 3
    count, rest = divmod(depth - 4, step)
    if count < 1 or rest:
        raise ValueError(f"densenet_cifar: depth got {depth}; expected {step}n + 4, e.g. 40.")
    if not 0 < compression <= 1:
        raise ValueError(
            f"densenet_cifar: compression got {compression}; expected a number in (0, 1]."
        )
    image = keras.Input(input_shape, name="image")
    # Section 3: 16 maps, "or twice the growth rate for DenseNet-BC".
    stem = 2 * growth if bottleneck and compression < 1 else 16
    x = conv(image, stem, 3, name="stem_conv")
    x = _dense(x, (count,) * 3, growth, bottleneck, compression, dropout, epsilon=1e-5)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _dense(
    x: KerasTensor,
    blocks: Sequence[int],
    growth: int,
    bottleneck: bool,
    compression: float,
    dropout: float,
    epsilon: float,
) -> KerasTensor:
    """Dense blocks, transitions between them, and the mean over the last maps."""

    def unit(x: KerasTensor, filters: int, size: int, place: str, number: str = "") -> KerasTensor:
        """Normalisation, ReLU, convolution; dropout where there is some."""
        bn, relu = f"{place}_bn{number}", f"{place}_relu{number}"
        x = norm(x, name=bn, relu=relu, epsilon=epsilon)
        x = conv(x, filters, size, name=f"{place}_conv{number}")
        return layers.Dropout(dropout, name=f"{place}_drop{number}")(x) if dropout else x

    for stage, depth in enumerate(blocks, start=1):
        for index in range(1, depth + 1):
            place = f"stage{stage}_layer{index}"
            y = unit(x, 4 * growth, 1, place, "1") if bottleneck else x
            y = unit(y, growth, 3, place, "2" if bottleneck else "")
            x = layers.Concatenate(name=f"{place}_concat")([x, y])
        if stage < len(blocks):
            x = unit(x, int(x.shape[-1] * compression), 1, f"transition{stage}")
            x = layers.AveragePooling2D(2, name=f"transition{stage}_pool")(x)
    x = norm(x, name="final_bn", relu="final_relu", epsilon=epsilon)
    return layers.GlobalAveragePooling2D(name="pool")(x)
