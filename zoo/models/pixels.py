"""A model that takes pixels as they are, its preprocessing inside."""

from __future__ import annotations

import keras

from zoo.data.preprocessing import Preprocessing


def take_pixels(model: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """Returns a model of pixels (n, size, size, channels), uint8, with the same layers and outputs.

    Args:
        model: Functional, of one image.
        preprocessing: How pixels become its inputs.

    Raises:
        ValueError: The model takes a table's rows, or something beside the image.
    """
    if len(model.inputs) > 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise ValueError(
            f"{model.name}: got --pixels; the model reads {names}; expected an image alone. Export"
            " it without."
        )
    if preprocessing.size is None:
        raise ValueError(f"{model.name}: takes rows of features; expected a model of pictures.")
    factor, offset = preprocessing.affine
    pixels = keras.Input(preprocessing.shape, dtype="uint8", name="pixels")
    inputs = keras.layers.Rescaling(factor.tolist(), offset.tolist(), name="preprocessing")(pixels)
    return keras.Model(pixels, model(inputs), name=model.name)
