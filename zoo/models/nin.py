"""Network in Network: every convolution is followed by a small perceptron at each place.

Source: Lin, Chen & Yan 2013, Network in network, arXiv:1312.4400, sections 3 and 4. The paper has
no table of layers; these are the two nets that the authors published for Caffe, whose pooling
rounds up. The perceptron is two 1x1 convolutions (`cccp`). The logits are the means of the last
maps over the image, after the last ReLU as in the authors' nets. Differs: He-normal kernels.
966,986 parameters in the CIFAR form at 32x32x3, 7,595,176 in the ImageNet form at 224x224x3.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from zoo.models.pooling import overlapping_pool

# Of each stage: side and stride of its convolution, padding, and maps of its three layers. The last
# number of the last stage is the number of classes.
STAGES = {
    "cifar": (
        (5, 1, "same", (192, 160, 96)),
        (5, 1, "same", (192, 192, 192)),
        (3, 1, "same", (192, 192)),
    ),
    "imagenet": (
        (11, 4, "valid", (96, 96, 96)),
        (5, 1, "same", (256, 256, 256)),
        (3, 1, "same", (384, 384, 384)),
        (3, 1, "same", (1024, 1024)),
    ),
}


def nin(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    form: str = "cifar",
    dropout: float = 0.5,
) -> keras.Model:
    """Returns a network in network: (batch, height, width, channels) to logits.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 4, and 39 in the ImageNet form.
        num_classes: Length of the output.
        form: `cifar`: dropout after both poolings, of which the second takes means; `imagenet`:
            maxima, and dropout after the third pooling only.
        dropout: Fraction of the features dropped in training, in [0, 1).

    Raises:
        ValueError: The form is unknown.
    """
    if form not in STAGES:
        raise ValueError(f"nin: form got {form!r}; expected one of {', '.join(STAGES)}.")
    x = image = keras.Input(input_shape, name="image")
    last = len(STAGES[form])
    for stage, (size, strides, padding, widths) in enumerate(STAGES[form], start=1):
        place = f"stage{stage}"
        widths = (*widths, num_classes) if stage == last else widths
        x = _conv(x, widths[0], size, f"{place}_conv", strides=strides, padding=padding)
        for index, width in enumerate(widths[1:], start=1):
            x = _conv(x, width, 1, f"{place}_cccp{index}")
        if stage < last:
            average = form == "cifar" and stage == 2
            x = overlapping_pool(x, name=f"{place}_pool", average=average)  # half the sides
            if form == "cifar" or stage == last - 1:
                x = layers.Dropout(dropout, name=f"{place}_drop")(x)
    logits = layers.GlobalAveragePooling2D(dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


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
