"""A small network that says what is in a picture and where.

Source: Sermanet et al. 2013, OverFeat, arXiv:1312.6229, sections 3 and 4: the classifier and the
regressor of boxes are two heads on the same convolutional maps. Differs: four levels for pictures
of 64 pixels; the classifier is linear and reads the largest value of each map; the regressor reads
all places of fewer maps, and gives one box for all classes, unless one for each is asked for, in
fractions of the picture; both heads learn at the same time.
562,238 parameters at 64x64x3 with 10 classes, 566,882 with a box for each.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from zoo.models.parts import conv, norm


def locator(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: int = 16,
    units: int = 128,
    batch_norm: bool = True,
    dropout: float = 0.3,
    class_wise: bool = False,
) -> keras.Model:
    """Returns a locator: (batch, height, width, channels) to a class and a box.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 16.
        num_classes: Number of classes.
        width: Maps of the first level; each of the next three has twice as many.
        units: Units of the hidden layer in front of the box.
        batch_norm: Whether a normalisation follows each convolution.
        dropout: Rate in front of the classifier, in [0, 1).
        class_wise: Whether each class has a box of its own; the answer has the surest class's.

    Returns:
        A model whose outputs are a mapping: `logits` (batch, num_classes), and `box` (batch, 4),
        y1 x1 y2 x2 in fractions of the picture's height and width. Where each class has its own,
        `auxiliary_boxes` (batch, num_classes, 4), which learn and are not deployed.
    """
    x = image = keras.Input(input_shape, name="image")  # shapes below: at 64x64x3
    for level in range(4):
        if level:
            x = layers.MaxPooling2D(2, name=f"level{level}_pool")(x)  # (batch, 32, 32, 16) ...
        for index in (1, 2):
            x = _conv(x, width << level, 3, f"level{level + 1}_conv{index}", batch_norm)
    # What it is does not depend on where it is: the class reads the largest of each map.
    pooled = layers.GlobalMaxPooling2D(name="logits_pool")(x)  # (batch, 128)
    # Where it is does: the box reads all places, of fewer maps.
    y = _conv(x, 2 * width, 1, "box_conv", batch_norm)
    flat = layers.Flatten(name="box_flatten")(y)  # (batch, 8 * 8 * 32)
    if dropout:
        pooled = layers.Dropout(dropout, name="logits_drop")(pooled)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(pooled)
    y = layers.Dense(units, "relu", kernel_initializer="he_normal", name="box_fc")(flat)
    # Small at first, or the box, which is far off, outweighs the class for many steps.
    small = keras.initializers.RandomNormal(stddev=0.001)
    if not class_wise:
        box = layers.Dense(4, kernel_initializer=small, dtype="float32", name="box")(y)
        return keras.Model(image, {"logits": logits, "box": box}, name=name)
    boxes = layers.Dense(4 * num_classes, kernel_initializer=small, dtype="float32", name="box")(y)
    boxes = layers.Reshape((num_classes, 4), dtype="float32", name="boxes")(boxes)
    surest = ops.one_hot(ops.top_k(logits, 1)[1][:, 0], num_classes, dtype="float32")
    box = ops.sum(boxes * surest[..., None], axis=1)
    heads = {"logits": logits, "box": box, "auxiliary_boxes": boxes}
    return keras.Model(image, heads, name=name)


def _conv(x: KerasTensor, filters: int, size: int, name: str, batch_norm: bool) -> KerasTensor:
    x = conv(x, filters, size, use_bias=not batch_norm, name=name)
    if batch_norm:
        x = norm(x, name=f"{name}_bn")
    return layers.ReLU(name=f"{name}_relu")(x)
