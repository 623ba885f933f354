"""1,797 handwritten digits of 8x8 pixels, for tests in seconds.

Source: Alpaydin & Kaynak 1998, UCI's optical recognition of handwritten digits (its test part), as
`sklearn.datasets.load_digits` carries it.
Differs: grey levels 0 to 16 are stretched to 0 to 255; 1,257 / 180 / 360 images for training,
validation and test. With 360 test images, top-1 is known to about 1 %.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split, stratify
from zoo.datasets import DATASETS


def load() -> DataSet:
    """Loads the digits, (8, 8, 1)."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.rint(raw.images * (255 / 16)).astype(np.uint8)[..., None]  # (1797, 8, 8, 1)
    everything = Split({"image": images, "label": raw.target.astype(np.int32)})
    train, validation, test = stratify(everything, lambda num: (num - 54, 18, 36), by="label")
    labels = tuple(str(name) for name in raw.target_names)
    return DataSet(
        "digits",
        f"scikit-learn {version('scikit-learn')}, load_digits",
        {"image": Column("image", (8, 8, 1)), "label": Column("class", (), labels)},
        train,
        validation,
        test,
        mirror=DATASETS["digits"].mirror,
    )
