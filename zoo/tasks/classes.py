"""The class that a network is told: an input `label`, one-hot, made of the column of that name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.common.tensors import LABEL

if TYPE_CHECKING:
    import keras
    import numpy as np


def num_classes(net: keras.Model) -> int:
    """Returns the number of classes that a network is told one of; 0 where it is told none."""
    found = (tensor for tensor in net.inputs if tensor.name == LABEL and len(tensor.shape) == 2)
    return next((int(tensor.shape[-1]) for tensor in found), 0)


def told(net: keras.Model, batch: Mapping[str, Any]) -> Any:
    """Returns the classes of a batch (b, classes), float32; `None` for a network told none.

    Raises:
        ValueError: The batch has no classes.
    """
    from keras import ops

    classes = num_classes(net)
    if not classes:
        return None
    if LABEL not in batch:
        raise ValueError(
            f"{net.name}: is told the class of each picture; got the columns {', '.join(batch)}; "
            f"expected data with a column {LABEL}, the class."
        )
    return ops.one_hot(batch[LABEL], classes, dtype="float32")


def one_hot(indices: Any, classes: int) -> np.ndarray:
    """Returns classes as rows of zeros and a one, (n, classes), float32.

    Args:
        indices: Of the classes, (n,).
        classes: Number of classes.
    """
    import numpy as np

    rows: np.ndarray = np.eye(classes, dtype=np.float32)[np.asarray(indices, int)]
    return rows


def beside(net: keras.Model, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Returns columns, NumPy arrays, with one-hot classes for a network that is told them."""
    classes = num_classes(net)
    if not classes or LABEL not in columns:
        return dict(columns)
    return {**columns, LABEL: one_hot(columns[LABEL], classes)}
