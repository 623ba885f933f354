"""Overlapping pooling as the early nets do it: a last window may hang over the edge.

Source: Krizhevsky et al. 2012, NIPS 25, section 3.4 (3x3 windows at stride 2); Caffe rounds the
number of windows up, and torchvision's `ceil_mode=True` follows it.
"""

from __future__ import annotations

from keras import KerasTensor, layers


def overlapping_pool(x: KerasTensor, *, name: str, average: bool = False) -> KerasTensor:
    """Pools 3x3 windows at stride 2, (batch, n, n, channels) to (batch, n // 2, n // 2, channels).

    At an even n the last window hangs over the bottom and the right by one, which is `same`
    padding; at an odd n all windows fit, which is `valid`. Padding counts neither in a maximum nor
    in an average. Where one side is even and the other odd, they are pooled one after the other:
    the window is a product.

    Args:
        x: Features, with known height and width of at least 2.
        name: Name of the last layer.
        average: Whether to take the mean of a window in place of its maximum.

    Raises:
        ValueError: A side is 1; the output would be empty.
    """
    pool = layers.AveragePooling2D if average else layers.MaxPooling2D
    rows, columns = ("valid" if side % 2 else "same" for side in x.shape[1:3])
    if rows == columns:
        return pool(3, strides=2, padding=rows, name=name)(x)
    x = pool((3, 1), strides=(2, 1), padding=rows, name=f"{name}_rows")(x)
    return pool((1, 3), strides=(1, 2), padding=columns, name=name)(x)
