"""Windows that slide over maps: their number, their padding, and what stands in them.

Slices, concatenations and comparisons alone, so that TFLite and ONNX know every operation. Maps are
(batch, height, width, channels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras import KerasTensor, ops

Pair = tuple[int, int]  # along the height, along the width


def count(size: int | None, window: int, stride: int, padding: str, name: str) -> int | None:
    """Returns the number of windows along one axis.

    Args:
        size: Length of the axis; `None` where it is not known.
        window: Length of the window.
        stride: Step from one window to the next.
        padding: `valid` keeps to windows that lie inside, `same` gives ceil(size / stride).
        name: The layer, for the error line.

    Raises:
        ValueError: Not one window lies inside.
    """
    if size is None:
        return None
    if padding == "same":
        return -(-size // stride)
    if size < window:
        raise ValueError(
            f"{name}: got an axis of {size} for a window of {window}; the output would be empty. "
            "Enlarge the pictures."
        )
    return (size - window) // stride + 1


def counts(
    shape: Sequence[int | None], window: Pair, strides: Pair, padding: str, name: str
) -> tuple[int | None, int | None]:
    """Returns the number of windows along the height and the width of a shape of four."""
    if len(shape) != 4:
        raise ValueError(
            f"{name}: got the shape {tuple(shape)}; expected (batch, height, width, channels)."
        )
    height, width = (
        count(shape[axis + 1], window[axis], strides[axis], padding, name) for axis in (0, 1)
    )
    return height, width


def margins(size: int, window: int, stride: int, padding: str) -> Pair:
    """Returns the padding before and after an axis; `same` puts the odd one after, as Keras."""
    if padding == "valid":
        return 0, 0
    total = max((math.ceil(size / stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def pad(
    x: KerasTensor, window: Pair, strides: Pair, padding: str, *, fill: float = 0.0
) -> KerasTensor:
    """Pads the height and width of maps with `fill`.

    Raises:
        ValueError: `same` padding with a stride, of maps whose height or width is not known.
    """
    if padding == "valid":
        return x
    widths = []
    for axis in (0, 1):
        size = x.shape[axis + 1]
        if size is None:
            if strides[axis] > 1:
                raise ValueError(
                    "padding 'same' with a stride above 1 needs maps of a known height and width; "
                    f"got {tuple(x.shape)}. Use 'valid', or give the input a fixed size."
                )
            size = 1  # with a stride of 1 the padding does not depend on it
        widths.append(margins(size, window[axis], strides[axis], padding))
    if not any(map(sum, widths)):
        return x
    return ops.pad(x, ((0, 0), *widths, (0, 0)), constant_values=fill)


def views(
    x: KerasTensor, window: Pair, strides: Pair, padding: str = "valid", *, fill: float = 0.0
) -> list[KerasTensor]:
    """Returns what each place of the window sees, row by row: maps of (batch, rows, columns, c)."""
    x = pad(x, window, strides, padding, fill=fill)
    return [
        across
        for down in _shifts(x, 1, window[0], strides[0])
        for across in _shifts(down, 2, window[1], strides[1])
    ]


def patches(x: KerasTensor, window: Pair, strides: Pair, padding: str = "valid") -> KerasTensor:
    """Returns (batch, rows, columns, window height * window width * channels), in that order."""
    x = pad(x, window, strides, padding)
    x = ops.concatenate(_shifts(x, 2, window[1], strides[1]), axis=-1)
    return ops.concatenate(_shifts(x, 1, window[0], strides[0]), axis=-1)


def interleave(parts: Sequence[KerasTensor], axis: int) -> KerasTensor:
    """Weaves equal maps along the height (axis 1) or width (axis 2): the first of each, and so on.

    Stacking next to the axis and merging the two axes does it without a rank above four.
    """
    _, height, width, channels = ops.shape(parts[0])
    if axis == 2:
        woven = ops.concatenate(parts, axis=3)  # (batch, height, width, parts * channels)
        return ops.reshape(woven, (-1, height, width * len(parts), channels))
    woven = ops.concatenate(parts, axis=2)  # (batch, height, parts * width, channels)
    return ops.reshape(woven, (-1, height * len(parts), width, channels))


def _shifts(x: KerasTensor, axis: int, window: int, stride: int) -> list[KerasTensor]:
    """Every `stride`-th row or column, from each place of the window on."""
    last = ops.shape(x)[axis] - window + 1
    if axis == 1:
        return [x[:, i : last + i : stride] for i in range(window)]
    return [x[:, :, i : last + i : stride] for i in range(window)]
