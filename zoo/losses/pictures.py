"""How a picture differs from what it should be like, by what a network sees of it.

Sources: Gram matrices, Gatys et al. 2015, arXiv:1505.07376, equations 1 to 4; content, Gatys et al.
2016 (CVPR), equation 1, and Johnson et al. 2016, arXiv:1603.08155, section 3.2; total variation,
Mahendran & Vedaldi 2015, arXiv:1412.0035, section 2 with beta 2. Differs: each is a share of what
is looked for (`relative`), as Mahendran & Vedaldi have it, so that a weight means the same for
every network and layer; total variation is a mean.
"""

from __future__ import annotations

from typing import Any

from keras import ops

TINY = 1e-12


def gram(maps: Any) -> Any:
    """Returns how often two maps answer at one place: sums of products over the places.

    Args:
        maps: (b, height, width, channels).

    Returns:
        (b, channels, channels), divided by height * width * channels, float32.
    """
    _, height, width, channels = maps.shape
    flat = ops.reshape(ops.cast(maps, "float32"), (-1, height * width, channels))  # (b, hw, c)
    products = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat)  # (b, c, c)
    return products / (height * width * channels)


def relative(found: Any, wanted: Any, *, scale: Any = None) -> Any:
    """Returns the squared error as a share of what is wanted, (b,).

    Args:
        found: (b, ...).
        wanted: Of the same shape, or of one example.
        scale: Mean square that is one; `None`: that of what is wanted.
    """
    found, wanted = ops.cast(found, "float32"), ops.cast(wanted, "float32")
    axes = tuple(range(1, len(found.shape)))
    error = ops.mean(ops.square(found - wanted), axis=axes)
    scale = ops.mean(ops.square(wanted), axis=axes) if scale is None else scale
    return error / (scale + TINY)


def variation(pictures: Any) -> Any:
    """Returns the total variation: the mean squared difference of neighbours, (b,).

    Args:
        pictures: (b, height, width, channels).
    """
    x = ops.cast(pictures, "float32")
    down, across = x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]
    return ops.mean(ops.square(down), axis=(1, 2, 3)) + ops.mean(ops.square(across), axis=(1, 2, 3))
