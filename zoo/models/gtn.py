"""A recogniser on the arcs of a lattice: LeNet-5 sees each segment of a line.

Source: LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11), section VII: candidate segments of a word, each with a
score for each class by a LeNet-5 that all share. Differs: cuts are at every `stride` columns, where
the paper's heuristic finds some; the recogniser is the LeNet-5 of `zoo.models.lenet`, and a class
more is nothing.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from zoo.models.lenet import lenet5

TAKES_SERIES = True


def gtn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    stride: int = 7,
    spans: int = 4,
) -> keras.Model:
    """Returns the model: `series` (batch, width, height) to `logits` of all arcs.

    `logits` are (batch, width / stride, spans, num_classes): `[:, n, s]` of the segment from cut n
    over s + 1 strides. The recogniser sees a square with the segment in the middle, and paper
    beside it.

    Args:
        name: Name of the model.
        input_shape: (width, height) of a line, columns of grey levels from 0, paper.
        num_classes: Labels and nothing, which is the first.
        stride: Columns between two cuts.
        spans: Strides of the longest segment.

    Raises:
        ValueError: The cuts do not divide the line, or a segment is wider than it is high.
    """
    width, height = input_shape
    if width % stride or spans * stride > height:
        raise ValueError(
            f"gtn: got {width} columns, stride={stride} and spans={spans}; expected a stride that "
            f"divides them, and segments of at most {height} columns, the line's height."
        )
    series = keras.Input((width, height), name="series")
    nodes = width // stride
    start = np.arange(nodes)[:, None] * stride  # (nodes, 1)
    wide = (np.arange(spans)[None] + 1) * stride  # (1, spans)
    offsets = np.arange(height) - height // 2  # of the square's columns from the segment's middle
    columns = (start + wide // 2)[..., None] + offsets  # (nodes, spans, height)
    inside = (columns >= start[..., None]) & (columns < (start + wide)[..., None])
    padded = layers.ZeroPadding1D(height, name="paper")(series)
    squares = ops.take(padded, (columns + height).reshape(-1).astype("int32"), axis=1)
    squares = squares * inside.reshape(1, -1, 1).astype("float32")
    squares = ops.reshape(squares, (-1, height, height, 1))  # columns first: (b arcs, x, y, 1)
    squares = ops.transpose(squares, (0, 2, 1, 3))
    reader = lenet5(name="reader", input_shape=(height, height, 1), num_classes=num_classes)
    logits = ops.reshape(reader(squares), (-1, nodes, spans, num_classes))
    logits = layers.Activation("linear", dtype="float32", name="logits")(logits)
    return keras.Model(series, logits, name=name)
