"""Shared values by what a layer gave: which weight has which, and the values, in turns.

With A_k, where the weights of value k are, the squared error of sum(v_k A_k) is least where

    sum over k of v_k trace(A_l' H A_k) = trace(A_l' H W*)        for every l

Sources: the quadratic form and the feedback are those of `problem.py` and `feedback.py`. Han, Mao &
Dally 2016, arXiv:1510.00149, share the values of k-means, and train them with labels.
"""

from __future__ import annotations

import numpy as np

from compress.passes.recovery.feedback import Masked, Values, sweep
from compress.passes.recovery.problem import Problem, masked_fit

TURNS = 3
PULL = 1e-6  # of the mean diagonal, to where a value was
MOST_PRODUCTS = 2e11  # for the sums of all values; with more of them they stay


def refitted(problem: Problem, kernel: np.ndarray, *, per_channel: bool) -> np.ndarray:
    """Returns a kernel of as few values, and the same zeros, that does better on the layer's rows.

    Args:
        problem: What the kernel is to do.
        kernel: (kernels, inputs, outputs); its values are those of k-means.
        per_channel: Whether each output has values of its own; of a depthwise one, each multiple.
    """
    kept = kernel != 0
    values = _values(kernel, kept, per_channel=per_channel)
    best, cost = kernel, problem.cost(kernel)
    aim = problem.aim if kept.all() else masked_fit(problem, kept)
    for _ in range(TURNS):
        rule = Values(np.sort(values))
        swept = sweep(aim, problem.squares, Masked(rule, kept))
        places = rule.places(swept)
        values = rule.values
        if 2 * values.shape[-1] * aim.shape[1] * aim.size < MOST_PRODUCTS:
            values = _least_squares(problem, places, kept, values)
        found = Values(values).at(places)
        # A value that comes out at 0 would be taken for zeros.
        found = np.where(kept, np.where(found == 0, np.finfo(np.float32).tiny, found), 0.0)
        if not (new := problem.cost(found)) < cost:
            break
        best, cost = found, new
    return best


def _values(kernel: np.ndarray, kept: np.ndarray, *, per_channel: bool) -> np.ndarray:
    """The values of a kernel, (values,), or (outputs, values), the last one repeated."""
    if not per_channel:
        return np.unique(kernel[kept]).astype(np.float64)
    columns = zip(np.moveaxis(kernel, -1, 0), np.moveaxis(kept, -1, 0), strict=True)
    found = [np.unique(column[some]) if some.any() else np.zeros(1) for column, some in columns]
    most = max(map(len, found))
    return np.stack([np.pad(one, (0, most - len(one)), mode="edge") for one in found]).astype(float)


def _least_squares(
    problem: Problem, places: np.ndarray, kept: np.ndarray, old: np.ndarray
) -> np.ndarray:
    """The values that come nearest, where it is settled which weight has which."""
    count = old.shape[-1]
    shape = (count, count, places.shape[-1])
    squares, products = np.zeros(shape), np.zeros((count, places.shape[-1]))
    wanted = problem.squares @ problem.aim
    marks = [(places == one) & kept for one in range(count)]
    for one, mark in enumerate(marks):
        seen = problem.squares @ mark
        products[one] = np.sum(mark * wanted, axis=(0, 1))
        for other in range(one, count):
            squares[one, other] = squares[other, one] = np.sum(marks[other] * seen, axis=(0, 1))
    if old.ndim == 1:
        squares, products = squares.sum(2)[..., None], products.sum(1)[:, None]
    systems, aims = np.moveaxis(squares, 2, 0), products.T  # (outputs, values, values)
    start = old.reshape(len(systems), count)
    pull = PULL * np.trace(systems, axis1=1, axis2=2) / count + 1e-30
    systems = systems + pull[:, None, None] * np.eye(count)
    aims = aims + pull[:, None] * start
    return np.linalg.solve(systems, aims[..., None])[..., 0].reshape(old.shape)
