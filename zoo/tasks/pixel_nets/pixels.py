"""How a grey pixel is distributed: of two values, of a table of levels, or a mixture of logistics.

Sources: a logit, and a softmax of 256 (van den Oord et al. 2016, arXiv:1601.06759, sections 3.5 and
5.1); a mixture of logistic densities in bins of a level each (Salimans et al. 2017, PixelCNN++,
arXiv:1701.05517, section 2.1), whose first and last bins take the tails.
Differs: the probability of a bin is `s(a) s(-b) (1 - exp(b - a))` in place of `s(a) - s(b)`, with s
the sigmoid, which is the same number and needs no rescue where it is small.
"""

from __future__ import annotations

import math
from typing import Any, Literal

LOWEST, HIGHEST = -7.0, 7.0  # logarithm of a logistic's scale, of a range of 2

Kind = Literal["binary", "softmax", "mixture"]


def outputs(kind: Kind, *, levels: int, components: int) -> int:
    """Returns how many numbers say how a pixel is distributed."""
    return {"binary": 1, "softmax": levels, "mixture": 3 * components}[kind]


def log_likelihood(kind: Kind, logits: Any, values: Any, *, levels: int) -> Any:
    """Returns the log-probability of each pixel (...), in nats.

    Args:
        kind: Kind of the distribution.
        logits: (..., outputs): of a mixture weights, means and logarithms of scales in turn.
        values: Numbers of the levels, (...), int32; leading axes broadcast.
        levels: Number of levels, of a binary pixel 2.
    """
    from keras import ops

    logits = ops.cast(logits, "float32")
    if kind == "binary":
        return ops.log_sigmoid((2 * ops.cast(values, "float32") - 1) * logits[..., 0])
    if kind == "softmax":
        # A product with one-hot rows has a cheap gradient, and broadcasts.
        chosen = ops.one_hot(values, levels, dtype="float32")
        return ops.sum(chosen * ops.log_softmax(logits, axis=-1), axis=-1)
    weights, means, scales = ops.split(logits, 3, axis=-1)  # each (..., components)
    place = 2 * ops.cast(values, "float32") / (levels - 1) - 1  # in [-1, 1]
    inverse = ops.exp(-ops.clip(scales, LOWEST, HIGHEST))
    middle, half = (place[..., None] - means) * inverse, inverse / (levels - 1)
    upper, lower = middle + half, middle - half
    below, over = ops.log_sigmoid(upper), ops.log_sigmoid(-lower)  # of the first, of the last bin
    within = below + over + ops.log(-ops.expm1(-2 * half))
    edge = values[..., None]
    each = ops.where(edge == 0, below, ops.where(edge == levels - 1, over, within))
    return ops.logsumexp(ops.log_softmax(weights, axis=-1) + each, axis=-1)


def probabilities(kind: Kind, logits: Any, *, levels: int) -> Any:
    """Returns the probability of each level, a NumPy array (n, levels), float64.

    Args:
        kind: Kind of the distribution.
        logits: (n, outputs), float32.
        levels: Number of levels, of a binary pixel 2.
    """
    import numpy as np

    if kind == "binary":
        one = 1 / (1 + np.exp(-logits[:, 0].astype("float64")))
        return np.stack([1 - one, one], axis=1)
    every = np.arange(levels, dtype="int32")[None]
    found = log_likelihood(kind, logits[:, None], every, levels=levels)
    return np.exp(np.asarray(found, "float64"))


def drawn(shares: Any, uniforms: Any) -> Any:
    """Returns levels (n,), int32, by the inverse of the cumulated probabilities.

    Args:
        shares: Probabilities (n, levels).
        uniforms: In [0, 1), (n,).
    """
    import numpy as np

    ends = np.cumsum(shares, axis=1)
    found = (uniforms[:, None] >= ends / ends[:, -1:]).sum(axis=1)
    return np.minimum(found, shares.shape[1] - 1).astype("int32")


def bits(nats: float, dimensions: int) -> float:
    """Returns bits per dimension."""
    return nats / (dimensions * math.log(2))
