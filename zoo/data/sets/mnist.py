"""MNIST: 60,000 + 10,000 handwritten digits of 28x28 pixels.

Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998.
Differs: 55,000 / 5,000 of the 60,000 go to training and validation (`zoo.data.sets.official`).
"""

from __future__ import annotations

import keras

from zoo.data.dataset import DataSet
from zoo.data.sets.official import assemble, download


def load() -> DataSet:
    """Loads the digits, (28, 28, 1).

    Raises:
        ConnectionError: The download failed.
    """
    advice = "Connect to the network, or use mnist5k, which needs none."
    arrays = download("mnist", keras.datasets.mnist.load_data, advice=advice)
    return assemble("mnist", "Keras' download, keras.datasets.mnist", tuple("0123456789"), arrays)
