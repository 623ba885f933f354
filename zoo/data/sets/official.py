"""What the large sets share: Keras' download, and a validation split.

The test split stays as published, in its order. Validation is a fixed slice of 5,000 images of the
published training split, the same number of each class.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.common.columns import Column
from zoo.common.reading import one_line
from zoo.data.dataset import DataSet, Split, stratify
from zoo.datasets import DATASETS

VALIDATION = 5000

Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def assemble(name: str, source: str, labels: tuple[str, ...], arrays: Arrays) -> DataSet:
    """Makes a data set of published arrays.

    Args:
        name: A name of `zoo.data.DATASETS`.
        source: Where the arrays were read from.
        labels: Class names.
        arrays: Published training and test images, uint8 (n, height, width[, channels]), each with
            its classes (n,) or (n, 1).
    """
    published, test = (_split(images, classes) for images, classes in arrays)
    held = VALIDATION // len(labels)
    train, validation, _ = stratify(published, lambda num: (num - held, held, 0), by="label")
    columns = {
        "image": Column("image", test["image"].shape[1:]),
        "label": Column("class", (), labels),
    }
    mirror = DATASETS[name].mirror
    return DataSet(name, source, columns, train, validation, test, mirror=mirror)


def download(name: str, load_data: Callable[[], Any], *, advice: str) -> Arrays:
    """Calls Keras' download, which keeps what it has fetched in `~/.keras/datasets`.

    Args:
        name: Name of the data set; it opens the error line.
        load_data: Keras' function.
        advice: What else the user can do; it closes the error line.

    Raises:
        ConnectionError: The download failed.
    """
    try:
        # Keras reports progress on the standard output, which belongs to the command's result.
        with contextlib.redirect_stdout(sys.stderr):
            arrays: Arrays = load_data()
            return arrays
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        raise ConnectionError(
            f"{name}: Keras' download failed ({one_line(error)}). {advice}"
        ) from None


def _split(images: np.ndarray, classes: np.ndarray) -> Split:
    if images.ndim == 3:
        images = images[..., None]  # (n, height, width, 1)
    return Split({"image": images, "label": classes.reshape(-1).astype(np.int32)})
