"""The rank of a noisy matrix, by empirical variational Bayesian matrix factorisation.

Source: Nakajima, Sugiyama, Babacan & Tomioka 2013, Global analytic solution of fully-observed
variational Bayesian matrix factorization, JMLR 14, theorems 2 and 3; the noise is found by
minimising the free energy (eq. 46) over its bounds.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from compress.passes.low_rank import singular


def rank(matrix: np.ndarray) -> int:
    """Returns the number of components above the noise, at least 1.

    Args:
        matrix: (n, m), any n and m.
    """
    short, long = sorted(matrix.shape)
    values = singular.values(matrix)
    squares, ratio = values**2, short / long
    tau = 2.5129 * np.sqrt(ratio)  # a fit to the root of eq. 32
    edge = (1 + tau) * (1 + ratio / tau)
    first = min(int(np.ceil(short / (1 + ratio))) - 1, short) - 1
    largest = squares.sum() / (short * long)
    index = min(max(first, 0), short - 2) if short > 1 else 0
    smallest = max(squares[index + 1 :].mean() / long if short > 1 else 0.0, 0.0)
    smallest = max(smallest, squares[min(index + 1, short - 1)] / (long * edge), 1e-300)
    if smallest >= largest:
        noise = largest
    else:
        found = minimize_scalar(
            lambda log: _energy(squares, np.exp(log), short, long, tau, edge),
            bounds=(np.log(smallest), np.log(largest)),
            method="bounded",
        )
        noise = float(np.exp(found.x))
    return max(1, int(np.sum(squares > long * noise * edge)))


def _energy(
    squares: np.ndarray, noise: float, short: int, long: int, tau: float, edge: float
) -> float:
    """The free energy as a function of the noise variance, up to a constant."""
    ratio = short / long
    x = squares / (long * noise)
    strong, weak = x[x > edge], x[x <= edge]
    t = _tau(strong, ratio)
    total = np.sum(weak - np.log(np.maximum(weak, 1e-300)))
    total += np.sum(strong - t) + np.sum(np.log((t + 1) / strong))
    total += ratio * np.sum(np.log(t / ratio + 1))
    return float(total)


def _tau(x: np.ndarray, ratio: float) -> np.ndarray:
    found: np.ndarray = 0.5 * (x - (1 + ratio) + np.sqrt((x - (1 + ratio)) ** 2 - 4 * ratio))
    return found
