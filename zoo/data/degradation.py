"""How a picture becomes a smaller one: two matrices, one for the rows and one for the columns.

`bicubic` is Pillow's reduction: Keys' kernel with a of -1/2, as wide as the scale asks for, its
weights divided by their sum at the edges. `blur` is a Gaussian, taken at the middle of each block
of scale x scale pixels, so that nothing shifts, be the scale odd or even.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

Degradation = Literal["bicubic", "blur"]


@lru_cache(maxsize=16)
def shrinking(side: int, scale: int, kind: Degradation, sigma: float) -> np.ndarray:
    """Returns the matrix (side / scale, side), float32, that makes a row of pixels shorter.

    Args:
        side: Pixels of the row, a multiple of the scale.
        scale: Pixels that become one.
        kind: See the file.
        sigma: Standard deviation of the blur, in pixels of the long row.

    Raises:
        ValueError: The scale does not divide the side.
    """
    if side % scale:
        raise ValueError(f"shrinking: got a side of {side}; expected a multiple of {scale}.")
    middles = (np.arange(side // scale)[:, None] + 0.5) * scale  # (short, 1)
    distance = np.arange(side) + 0.5 - middles  # (short, side)
    if kind == "bicubic":
        weights = keys(distance / scale)
    else:
        weights = np.exp(-0.5 * (distance / sigma) ** 2)
    matrix = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    matrix.setflags(write=False)  # whoever asks gets the same one
    return matrix


def keys(x: np.ndarray) -> np.ndarray:
    """Returns the cubic kernel of Keys 1981, doi:10.1109/TASSP.1981.1163711, with a = -1/2."""
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
