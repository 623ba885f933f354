"""One hidden layer over a large picture: fully connected, locally connected or convolutional.

Source: Ranzato 2014, Deep learning for vision, tutorial at CVPR: a picture of 200x200 and 40,000
hidden units have about 2 billion weights (1,600,000,000) when all are connected, 4 million with
filters of 10x10 at each place, 10 thousand with 100 such filters for the whole picture. Differs:
the slides stop at the hidden layer; biases, ReLU, the means of 10x10 cells and the logits are ours.
The convolution has 100 maps, so 4,000,000 units. At other sizes there is a hidden unit for each
pixel. Full connection is no row of the catalogue: its weights alone take 6.4 GB.
4,041,010 parameters at 200x200x1 locally connected (4,000,000 + 40,000 biases + 1,010 of the
logits); 110,110 convolutional (10,000 + 100 + 100,010).
"""

from __future__ import annotations

import keras
from keras import layers

from zoo.layers.locally_connected import LocallyConnected2D

SIZE, FILTERS, CELLS = 10, 100, 10
CONNECTIONS = ("local", "conv", "full")


def local(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    connection: str = "local",
) -> keras.Model:
    """Returns a net with one hidden layer: (batch, height, width, channels) to logits.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 10.
        num_classes: Length of the output, (batch, num_classes).
        connection: What a hidden unit sees: `local`, a window with weights of its own; `conv`, a
            window with weights that all places share; `full`, the whole picture.

    Raises:
        ValueError: `connection` is unknown, or the picture is smaller than a filter.
    """
    if connection not in CONNECTIONS:
        raise ValueError(f"local: connection got {connection!r}; expected one of {CONNECTIONS}.")
    height, width, _ = input_shape
    if min(height, width) < SIZE:
        raise ValueError(
            f"local: input_shape got {input_shape}; expected sides of at least {SIZE}: a smaller "
            "picture leaves places of every filter empty. Enlarge the pictures."
        )
    image = keras.Input(input_shape, name="image")  # shapes below: at 200x200x1
    if connection == "full":
        x = layers.Flatten(name="flatten")(image)  # (batch, 40000)
        x = layers.Dense(height * width, kernel_initializer="he_normal", name="hidden")(x)
        x = layers.Reshape((height, width, 1), name="hidden_map")(x)
    elif connection == "local":
        x = LocallyConnected2D(1, SIZE, padding="same", name="hidden")(image)
    else:
        x = layers.Conv2D(
            FILTERS, SIZE, padding="same", kernel_initializer="he_normal", name="hidden"
        )(image)
    x = layers.ReLU(name="hidden_relu")(x)  # (batch, 200, 200, 1), or 100 maps
    # A mean lets all units of a cell learn from each picture; a maximum, one of them.
    cell = (height // CELLS, width // CELLS)
    x = layers.AveragePooling2D(cell, name="cells")(x)  # (batch, 10, 10, 1)
    x = layers.Flatten(name="features")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
