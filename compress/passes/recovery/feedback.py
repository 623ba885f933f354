"""Kernels rounded row by row, each row's error made up for by the rows that are left.

A layer gives X W for rows X of what it reads. With H = X'X, a change of W by E costs trace(E'HE).
Where row i of W is settled to q, what makes up for it best in the rows that are not settled yet is

    W[j] -= U[i, j] (W[i] - q) / U[i, i]        for j > i, with U upper and U'U = inverse of H

Sources: Frantar, Ashkboos, Hoefler & Alistarh 2022, GPTQ, arXiv:2210.17323, algorithm 1 (the order,
Cholesky's form, blocks); Frantar & Alistarh 2023, SparseGPT, arXiv:2301.00774 (zeros
chosen block by block); both after Hassibi & Stork 1992, Optimal brain surgeon. Differs: several
kernels are swept at once, which makes those of a depthwise convolution quick.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

BLOCK = 64  # rows whose errors reach the rows behind them together


class Rule(Protocol):
    """What a kernel's weights may be."""

    def look(self, start: int, rows: np.ndarray, spread: np.ndarray) -> None:
        """Is shown a block of rows before the first of them is settled.

        Args:
            start: Number of the first row.
            rows: (kernels, rows, outputs).
            spread: (kernels, rows): the diagonal of U, see above.
        """

    def settle(self, place: int, row: np.ndarray) -> np.ndarray:
        """Returns what a row, (kernels, outputs), becomes."""


class Grid:
    """Integers times a scale.

    Args:
        scale: Of each grid, (kernels, outputs) or what is spread to that.
        top: The largest integer; the smallest is its negative.
    """

    def __init__(self, scale: np.ndarray, top: int) -> None:
        self.scale, self.top = scale, top

    def look(self, start: int, rows: np.ndarray, spread: np.ndarray) -> None:
        """See `Rule.look`."""

    def settle(self, place: int, row: np.ndarray) -> np.ndarray:
        """See `Rule.settle`."""
        settled: np.ndarray = np.clip(np.round(row / self.scale), -self.top, self.top) * self.scale
        return settled


class Masked:
    """Zeros that stay, beside what another rule says.

    Args:
        rule: Of the other weights.
        kept: Where a weight is not 0, (kernels, inputs, outputs).
    """

    def __init__(self, rule: Rule, kept: np.ndarray) -> None:
        self.rule, self.kept = rule, kept

    def look(self, start: int, rows: np.ndarray, spread: np.ndarray) -> None:
        """See `Rule.look`."""
        self.rule.look(start, rows, spread)

    def settle(self, place: int, row: np.ndarray) -> np.ndarray:
        """See `Rule.settle`."""
        return np.where(self.kept[:, place], self.rule.settle(place, row), 0.0)


class Values:
    """A few values that weights share.

    Args:
        values: Sorted: (values,) for all, or (outputs, values).
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def look(self, start: int, rows: np.ndarray, spread: np.ndarray) -> None:
        """See `Rule.look`."""

    def settle(self, place: int, row: np.ndarray) -> np.ndarray:
        """See `Rule.settle`."""
        return self.at(self.places(row))

    def places(self, weights: np.ndarray) -> np.ndarray:
        """Returns the number of each weight's value, (..., outputs)."""
        middles = (self.values[..., 1:] + self.values[..., :-1]) / 2
        if middles.ndim == 1:
            return np.searchsorted(middles, weights, side="right")
        found: np.ndarray = (weights[..., None] >= middles).sum(-1)
        return found

    def at(self, places: np.ndarray) -> np.ndarray:
        """Returns the values of numbers, (..., outputs)."""
        if self.values.ndim == 1:
            return self.values[places]
        found: np.ndarray = self.values[np.arange(len(self.values)), places]
        return found


class Zeros:
    """Some weights become 0: those whose loss costs least, as far as the others make up for it.

    Args:
        share: Of the weights of a block.
        zeros: Where they are 0 already, (kernels, inputs, outputs).
        n_of_m: (N, M), where N of every M rows are kept.
    """

    def __init__(
        self, share: float, zeros: np.ndarray, n_of_m: tuple[int, int] | None = None
    ) -> None:
        self.share, self.zeros, self.n_of_m = share, zeros, n_of_m
        self._kept, self._start = np.ones((1, 1, 1), bool), 0

    def look(self, start: int, rows: np.ndarray, spread: np.ndarray) -> None:
        """See `Rule.look`; w^2 / U[i, i]^2 is what it costs to lose a weight."""
        costs = (rows / spread[..., None]) ** 2
        costs[self.zeros[:, start : start + rows.shape[1]]] = -1
        self._start, self._kept = start, np.ones(rows.shape, bool)
        if self.n_of_m is None:
            count = round(self.share * costs[0].size)
            order = np.argsort(costs.reshape(len(costs), -1), axis=1, kind="stable")
            np.put_along_axis(self._kept.reshape(len(costs), -1), order[:, :count], False, axis=1)
            return
        kept, size = self.n_of_m
        groups = costs.reshape(len(costs), -1, size, costs.shape[-1])
        order = np.argsort(groups, axis=2, kind="stable")[:, :, : size - kept]
        np.put_along_axis(self._kept.reshape(groups.shape), order, False, axis=2)

    def settle(self, place: int, row: np.ndarray) -> np.ndarray:
        """See `Rule.settle`."""
        return row * self._kept[:, place - self._start]


def sweep(kernel: np.ndarray, squares: np.ndarray, rule: Rule, *, block: int = BLOCK) -> np.ndarray:
    """Returns kernels whose weights are what a rule allows, near the given ones for the layer.

    Args:
        kernel: (kernels, inputs, outputs).
        squares: H of each, (kernels, inputs, inputs), positive definite.
        rule: What is allowed.
        block: Rows that are shown to it at once.

    Raises:
        numpy.linalg.LinAlgError: `squares` is not positive definite.
    """
    left = kernel.astype(np.float64)
    upper = np.swapaxes(np.linalg.cholesky(np.linalg.inv(squares)), 1, 2)
    spread = np.diagonal(upper, axis1=1, axis2=2)
    for start in range(0, left.shape[1], block):
        end = min(start + block, left.shape[1])
        rule.look(start, left[:, start:end], spread[:, start:end])
        errors = np.zeros(left[:, start:end].shape)
        for row in range(start, end):
            settled = rule.settle(row, left[:, row])
            error = (left[:, row] - settled) / spread[:, row, None]
            left[:, row + 1 : end] -= upper[:, row, row + 1 : end, None] * error[:, None]
            left[:, row], errors[:, row - start] = settled, error
        left[:, end:] -= np.swapaxes(upper[:, start:end, end:], 1, 2) @ errors
    return left
