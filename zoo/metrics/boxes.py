"""Measures of boxes, by operations of Keras: for arrays, and for tensors within a graph."""

from __future__ import annotations

from typing import Any

from keras import ops


def iou(one: Any, other: Any) -> Any:
    """Returns intersection over union of pairs of boxes, (...); of two that are empty, 0.

    A box whose end lies before its start is empty.

    Args:
        one: y1 x1 y2 x2, the ends exclusive, (..., 4).
        other: Likewise, in the same unit.
    """
    low = ops.maximum(one[..., :2], other[..., :2])
    high = ops.minimum(one[..., 2:], other[..., 2:])
    shared = _area(low, high)
    union = _area(one[..., :2], one[..., 2:]) + _area(other[..., :2], other[..., 2:]) - shared
    # Where the union is 0 so is what they share.
    return shared / ops.where(union > 0, union, ops.ones_like(union))


def _area(low: Any, high: Any) -> Any:
    sides = ops.maximum(high - low, 0.0)
    return sides[..., 0] * sides[..., 1]
