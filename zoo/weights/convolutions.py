"""Convolutions without a head, out of the files of `zoo.weights.CONVOLUTIONS`.

The file is Keras' own, of a network for edges (Xie & Tu 2015, arXiv:1504.06375) whose stages are
VGG-16's. Its first kernel expects blue, green, red: its channels are put in the order red, green,
blue.
"""

from __future__ import annotations

import keras
import numpy as np

from zoo import catalog
from zoo.models.vgg import stages
from zoo.weights import Weights, fetch


def load_convolutions(row: Weights) -> keras.Model:
    """Returns the stages of VGG-16: pictures (batch, height, width, 3) to its last maps.

    Args:
        row: A row of `CONVOLUTIONS`.

    Raises:
        FileNotFoundError: It has not been fetched.
        RuntimeError: The file in the cache has another sha256.
        ValueError: The file has weights of other shapes.
    """
    import h5py

    path = fetch.cached(row)
    convs = catalog.CATALOG[row.model].settings["convs"]
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, stages(image, convs), name=f"{row.model}-{row.name}")
    with h5py.File(path) as file:
        for stage, depth in enumerate(convs, start=1):
            for index in range(depth):
                place = f"block{stage}/layers/conv2d" + (f"_{index}" if index else "")
                kernel, bias = (np.asarray(file[f"{place}/vars/{number}"]) for number in (0, 1))
                if (stage, index) == (1, 0):
                    kernel = kernel[:, :, ::-1]
                model.get_layer(f"stage{stage}_conv{index + 1}").set_weights([kernel, bias])
    return model
