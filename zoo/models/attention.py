"""Attention over what an encoder saw of a text, and what reads and says a text has in common.

Sources: Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section 3.1; Luong, Pham & Manning 2015,
arXiv:1508.04025, section 3.1. Padding is left out: it gets the least energy that there is, the
softmax is of all places, then those that are real share its sum, of which the best one has no less
than an even share. A mask of large negative numbers would be the same, but leaves integers of 8
bits no room for the scores themselves.
"""

from __future__ import annotations

from typing import Any

from keras import KerasTensor, layers, ops

from zoo.common.tensors import WEIGHTS

MASK, ANNOTATIONS, KEYS = "real", "annotations", "keys"


def real_places(source: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Returns where a text is no padding, as a mask for recurrent layers and as 1 and 0.

    Args:
        source: (batch, time), int32.
    """
    there = ops.not_equal(source, 0)  # (batch, time)
    return there, ops.cast(there, "float32")


def attend(energy: KerasTensor, real: KerasTensor, annotations: KerasTensor) -> tuple[Any, Any]:
    """Returns the mean of the annotations by softmax of the energies, and its weights.

    Args:
        energy: Score of each place, (batch, places).
        real: 1 where a place counts, 0 where not, (batch, places).
        annotations: (batch, places, units).

    Returns:
        The context (batch, units), and the weights (batch, places), which sum to 1.
    """
    above = (energy - ops.min(energy, axis=-1, keepdims=True)) * real  # 0 at padding
    shares = layers.Softmax(name="attention")(above) * real
    weights = shares / ops.sum(shares, axis=-1, keepdims=True)
    places, units = annotations.shape[1:]
    row = layers.Reshape((1, places), name="attention_row")(weights)
    context = layers.Reshape((units,), name="context")(ops.matmul(row, annotations))
    return context, layers.Reshape((places,), name=WEIGHTS)(weights)


def one_word(tokens: KerasTensor, num: int, width: int, *, name: str = "embedding") -> Any:
    """Returns the vector of one token each: (batch, 1) to (batch, width)."""
    word = layers.Embedding(num, width, name=name)(tokens)
    return layers.Reshape((width,), name=f"{name}_one")(word)
