"""DeViSE: a picture becomes a vector among those of words, and the nearest word names it.

Source: Frome et al. 2013, DeViSE: a deep visual-semantic embedding model, NIPS 26, section 3: the
features of a network of Krizhevsky et al. mapped linearly to the space of the words. Differs: the
network is the one-tower form (`zoo.models.alexnet`), and learns from the start with the map.
The words' vectors are the last layer, which does not learn: so a class that no picture had at the
training is named too. 59,051,840 weights learn: 61,100,840 of AlexNet without 4096 * 1000 + 1000 of
its logits, and 4096 * 500 of the map.

The small one has 5 * 5 * 3 * 32 + 32, 5 * 5 * 32 * 64 + 64, 4096 * 128 + 128 and 128 * 16: 580,160
at 32x32. `devise_softmax`, its baseline, has 128 * 60 + 60 in place of the last: 585,852.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from zoo.models.alexnet import alexnet_one_tower


def devise(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    trunk: Literal["alexnet", "small"] = "alexnet",
    size: int = 500,
    vectors: tuple[tuple[float, ...], ...] | None = None,
) -> keras.Model:
    """Returns the model: `image` to `logits` (batch, num_classes), products with words' vectors.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Number of classes, with those that no picture shows.
        trunk: What sees the picture.
        size: Numbers of a vector.
        vectors: Of each class; `None` leaves them at random.

    Raises:
        ValueError: There are other than `num_classes` vectors of `size` numbers.
    """
    image, x = _trunk(input_shape, trunk)
    x = layers.Dense(size, use_bias=False, name="vector")(x)
    words = layers.Dense(
        num_classes, use_bias=False, trainable=False, name="logits", dtype="float32"
    )
    logits = words(x)
    if vectors is not None:
        import numpy as np

        values = np.array(vectors, np.float32).T  # (size, classes)
        if values.shape != (size, num_classes):
            raise ValueError(
                f"vectors: got {values.shape[::-1]}; expected {num_classes} of {size} numbers."
            )
        words.set_weights([values])
    return keras.Model(image, logits, name=name)


def devise_softmax(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    trunk: Literal["alexnet", "small"] = "small",
) -> keras.Model:
    """Returns the baseline, which knows nothing of words: all of its logits are learnt.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Number of classes.
        trunk: What sees the picture.
    """
    image, x = _trunk(input_shape, trunk)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)


def _trunk(input_shape: tuple[int, ...], kind: str) -> tuple[Any, Any]:
    """A picture, and its features (batch, features)."""
    if kind == "alexnet":
        whole = alexnet_one_tower(name="trunk", input_shape=input_shape, num_classes=1)
        return whole.inputs[0], whole.layers[-1].input
    x = image = keras.Input(input_shape, name="image")
    for number, filters in enumerate((32, 64), start=1):
        x = layers.Conv2D(filters, 5, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    return image, layers.Dense(128, "relu", name="features")(x)
