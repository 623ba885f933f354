"""CIFAR-10: 50,000 + 10,000 colour photographs of 32x32 pixels.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
Differs: 45,000 / 5,000 of the 50,000 go to training and validation (`zoo.data.sets.official`).
"""

from __future__ import annotations

import keras

from zoo.data.dataset import DataSet
from zoo.data.sets.official import assemble, download

LABELS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def load() -> DataSet:
    """Loads the photographs, (32, 32, 3).

    Raises:
        ConnectionError: The download failed.
    """
    advice = "Connect to the network, or use folder:PATH with images of your own."
    arrays = download("cifar10", keras.datasets.cifar10.load_data, advice=advice)
    return assemble("cifar10", "Keras' download, keras.datasets.cifar10", LABELS, arrays)
