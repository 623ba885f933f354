"""Readers of lines whose LSTMs see rows and columns: multi-dimensional, or one after the other.

Sources: Graves & Schmidhuber 2008, Offline handwriting recognition with multidimensional recurrent
neural networks, NIPS 21, figure 2: patches of the picture, LSTMs from its four corners, a layer of
tanh between them, the height summed up at the end, and CTC. Columns, then rows, by ordinary
LSTMs: Visin et al. 2015, ReNet, arXiv:1505.00393, section 2, which every target knows.
Differs: one width of patches, two levels of LSTM, and much smaller.

With n pixels of a patch, f and g features of the two levels and c classes: `multi` 4 (5 f (n + 1) +
2 f 5 f), between them 4 f t + t, t = g, 4 (5 g (t + 1) + 2 g 5 g), scores 4 g c + c. `rows` has
bidirectional LSTMs of f units down the columns and of g along the rows, 2 * 4 (f (n + f) + f) and
2 * 4 (g (2 f + g) + g), scores 2 g c + c.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from zoo.layers import MultiLSTM
from zoo.layers.multi_lstm import GATES

TAKES_SERIES = True
CORNERS = (("down", "right"), ("down", "left"), ("up", "right"), ("up", "left"))


def ctc_multi(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    patch: int = 4,
    features: tuple[int, int] = (8, 24),
) -> keras.Model:
    """Returns the multi-dimensional reader: `series` (batch, width, height) to `logits`.

    Args:
        name: Name of the model.
        input_shape: (width, height) of a line.
        num_classes: Labels and the blank, which is the first.
        patch: Side of the squares that are read as one place.
        features: Of the LSTMs of both levels.

    Returns:
        `logits` are (batch, width / patch, num_classes).

    Raises:
        ValueError: Patches do not divide the line.
    """
    series, x = _patches(input_shape, patch)
    first, second = features
    x = layers.Concatenate(name="level1")(_from_corners(x, first, "level1"))
    x = layers.Dense(second, "tanh", name="between")(x)
    x = layers.Concatenate(name="level2")(_from_corners(x, second, "level2"))
    return keras.Model(series, _logits(x, num_classes), name=name)


def ctc_rows(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    patch: int = 4,
    features: tuple[int, int] = (16, 48),
) -> keras.Model:
    """Returns the reader of columns, then rows; see `ctc_multi`."""
    series, x = _patches(input_shape, patch)
    down, along = features
    height, width, pixels = x.shape[1:]
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, height, pixels))  # (b width, height, n)
    lstm = layers.LSTM(down, return_sequences=True, name="columns_one_way")
    x = layers.Bidirectional(lstm, name="columns")(x)
    x = ops.reshape(x, (-1, width, height, 2 * down))
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, width, 2 * down))  # (b height, width, .)
    lstm = layers.LSTM(along, return_sequences=True, name="rows_one_way")
    x = layers.Bidirectional(lstm, name="rows")(x)
    x = ops.reshape(x, (-1, height, width, 2 * along))
    return keras.Model(series, _logits(x, num_classes), name=name)


def _patches(input_shape: tuple[int, ...], patch: int) -> tuple[KerasTensor, KerasTensor]:
    """The input, and the picture in squares: (batch, rows, columns, pixels)."""
    width, height = input_shape
    if width % patch or height % patch:
        raise ValueError(
            f"ctc: got a line of {width} x {height} pixels and patch={patch}; expected a divisor."
        )
    series = keras.Input((width, height), name="series")
    x = ops.reshape(series, (-1, width // patch, patch, height // patch, patch))
    x = ops.transpose(x, (0, 3, 1, 4, 2))  # (batch, rows, columns, y, x)
    return series, ops.reshape(x, (-1, height // patch, width // patch, patch * patch))


def _from_corners(x: KerasTensor, features: int, level: str) -> list[KerasTensor]:
    """What LSTMs from the four corners make of a picture."""
    found = []
    for vertical, across in CORNERS:
        place = f"{level}_{vertical}_{across}"
        gates = layers.Dense(GATES * features, name=f"{place}_gates")(x)
        turned = {"upwards": vertical == "up", "leftwards": across == "left"}
        found.append(MultiLSTM(features, **turned, name=place)(gates))
    return found


def _logits(x: KerasTensor, num_classes: int) -> KerasTensor:
    """Scores of each class in each column: the height is summed up."""
    x = layers.Dense(num_classes, dtype="float32", name="scores")(x)
    return layers.Activation("linear", dtype="float32", name="logits")(ops.sum(x, axis=1))
