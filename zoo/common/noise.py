"""How far numbers are from those that they stand for: two measures, each in one definition.

    SQNR = 10 log10( sum y^2 / sum (y' - y)^2 ) dB          signal to quantisation noise
    R2 = 1 - sum (y' - y)^2 / sum (y - mean y)^2            of the same error

The mean is that of each number over the examples: what all examples share makes an SQNR high and
tells nothing of a model, so a limit on what may be lost is one on R2.
"""

from __future__ import annotations

import math

import numpy as np

LEAST_R2 = -1e20
MOST_DB = 200.0  # of no error; its negative of no signal, or of an error that is not finite


def sqnr_db(want: np.ndarray, got: np.ndarray) -> float:
    """Returns the signal to quantisation noise ratio, from -`MOST_DB` to `MOST_DB`.

    Args:
        want: Numbers of any shape.
        got: Likewise, with an error.
    """
    want, got = np.asarray(want, np.float64), np.asarray(got, np.float64)
    signal, noise = float(np.square(want).sum()), float(np.square(got - want).sum())
    if not noise:
        return MOST_DB
    if not math.isfinite(noise) or not signal:
        return -MOST_DB
    return min(max(10 * math.log10(signal / noise), -MOST_DB), MOST_DB)


def r2(want: np.ndarray, got: np.ndarray) -> float:
    """Returns the share of what varies over the examples that is kept, from `LEAST_R2` to 1.

    Args:
        want: Numbers (n, ...).
        got: Likewise, with an error.
    """
    want, got = np.asarray(want, np.float64), np.asarray(got, np.float64)
    varying = float(np.square(want - want.mean(axis=0)).sum())
    varying = varying or float(np.square(want).sum())  # one example, or the same answer to all
    return r2_of(varying, float(np.square(got - want).sum()))


def r2_of(varying: float, noise: float) -> float:
    """Returns R2 by two sums of squares: of what varies, and of the error."""
    if not noise:
        return 1.0
    return max(1 - noise / varying, LEAST_R2) if varying and math.isfinite(noise) else LEAST_R2
