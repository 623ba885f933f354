"""Matrices of integers, most of them 0, as few bytes: adaptive arithmetic coding with contexts.

Sources: an integer as decisions of yes or no (is it 0, its sign, its size), each with a share that
adapts to what stands near, is Wiedemann et al. 2019, DeepCABAC, arXiv:1905.08318, after CABAC of
video (Marpe, Schwarz & Wiegand 2003, IEEE Trans. CSVT 13(7)). The share of a decision is that of
Krichevsky & Trofimov 1981, IEEE Trans. Inf. Theory 27(2).
Differs: how many of a row, and of a column, are not 0 is told first, by a class, because pruned
rows and dead units are what a trained kernel has most of; shares adapt from row to row, so that a
row is one call of the range coder (the package `constriction`).

Shares are quotients of whole numbers and powers of two, which every machine computes alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

MOST_BITS = 24  # of an integer's size
LEAST_COLUMNS = 8
FEW_ROWS = 8  # below which columns have no classes
PIECES = 64  # of a matrix, at least, so that shares can adapt
_FLAGS, _SIGNS, _NEAR, _SIZES = 4, 9, 3, MOST_BITS + 1


def encoded(matrix: np.ndarray, lag: int = 0) -> bytes:
    """Returns the code of a matrix.

    Args:
        matrix: Integers (rows, columns), below 2^24 in size.
        lag: Number of rows between two that resemble one another, beside neighbours: of pictures
            their width; 0 for none.
    """
    writer = _Writer()
    _code(writer, np.asarray(matrix, np.int64), lag)
    return writer.code()


def decoded(code: bytes, shape: tuple[int, int], lag: int = 0) -> np.ndarray:
    """Returns the matrix of a code, int64.

    Args:
        code: From `encoded`.
        shape: Rows and columns.
        lag: The same as there.

    Raises:
        ValueError: It is no such code.
    """
    matrix = np.zeros(shape, np.int64)
    _code(_Reader(code), matrix, lag)
    return matrix


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Returns the rows and columns of an array for the coder.

    Columns are those of the last axis, or of the last axes where it is short.
    """
    columns, place = 1, len(shape)
    while place > 0 and columns < LEAST_COLUMNS:
        place -= 1
        columns *= shape[place]
    return math.prod(shape[:place]), columns


class _Writer:
    """Takes decisions down."""

    def __init__(self) -> None:
        import constriction

        self._coder = constriction.stream.queue.RangeEncoder()
        self._bits = constriction.stream.model.Bernoulli(perfect=False)
        self._kinds = constriction.stream.model.Categorical

    def bits(self, shares: np.ndarray, own: Callable[[], np.ndarray]) -> np.ndarray:
        bits = own()
        self._coder.encode(bits.astype(np.int32), self._bits, shares)
        return bits

    def kind(self, shares: np.ndarray, own: int) -> int:
        self._coder.encode(own, self._kinds(shares, perfect=False))
        return own

    def code(self) -> bytes:
        # Zeros at the end are what a reader sees beyond it.
        return self._coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")


class _Reader:
    """Gives them again."""

    def __init__(self, code: bytes) -> None:
        import constriction

        words = np.frombuffer(code + bytes(-len(code) % 4 + 8), "<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._bits = constriction.stream.model.Bernoulli(perfect=False)
        self._kinds = constriction.stream.model.Categorical

    def bits(self, shares: np.ndarray, own: Callable[[], np.ndarray]) -> np.ndarray:
        return self._coder.decode(self._bits, shares).astype(bool)

    def kind(self, shares: np.ndarray, own: int) -> int:
        return int(self._coder.decode(self._kinds(shares, perfect=False)))


class _Shares:
    """How often the answer was yes, by context."""

    def __init__(self, yes: Any, asked: Any) -> None:
        self.yes, self.asked = np.array(yes, float), np.array(asked, float)

    def ask(self, coder: Any, contexts: np.ndarray, own: Callable[[], np.ndarray]) -> np.ndarray:
        """Codes decisions, and learns from them.

        Args:
            coder: Writes them down, or gives them.
            contexts: Of each.
            own: Returns them, where they are known.
        """
        found: np.ndarray = coder.bits(self.yes[contexts] / self.asked[contexts], own)
        size = self.yes.size
        self.yes += np.bincount(contexts, weights=found, minlength=size)
        self.asked += np.bincount(contexts, minlength=size)
        return found


def _code(coder: Any, matrix: np.ndarray, lag: int) -> None:
    """Writes a matrix down, or fills it."""
    rows, columns = matrix.shape
    kept = matrix != 0
    of_rows = _classes(coder, kept.sum(1), columns)
    of_columns = np.ones(columns, np.int64)
    if rows >= FEW_ROWS:
        of_columns = _classes(coder, kept.sum(0), rows)
    alive = np.flatnonzero(of_columns)
    if not (alive.size and of_rows.any()):
        return
    work, of_columns = matrix[:, alive], of_columns[alive]
    tables = _Tables(of_rows, of_columns)
    none = np.zeros(alive.size, np.int64)
    width = max(LEAST_COLUMNS, work.size // PIECES)
    for i in np.flatnonzero(of_rows):
        before = work[i - 1] if i else none
        other = work[i - lag] if lag and i >= lag else none
        for start in range(0, alive.size, width):
            part = slice(start, start + width)
            sums = of_rows[i] + of_columns[part]
            tables.row(coder, work[i, part], sums, before[part], other[part])
    matrix[:, alive] = work


def _classes(coder: Any, counts: np.ndarray, most: int) -> np.ndarray:
    """Codes how many there are on each line: 0, 1, 2 to 3, 4 to 7, ...; given the line before."""
    size = _bit_length(np.array([most]))[0] + 1
    own, found = _bit_length(counts), np.empty(counts.size, np.int64)
    seen = np.zeros((size, size), np.int64)
    last = 0
    for i in range(counts.size):
        whole = seen.sum(0)
        # After the same class, and, as three more of these, after any.
        weights = 64 * seen[last] + (192 * (4 * whole + 1)) // (4 * whole.sum() + size)
        last_found = coder.kind((weights + 1) / (weights + 1).sum(), int(own[i]))
        seen[last, last_found] += 1
        found[i] = last = last_found
    return found


class _Tables:
    """The shares of one matrix."""

    def __init__(self, of_rows: np.ndarray, of_columns: np.ndarray) -> None:
        sums = np.arange(int(of_rows.max() + of_columns.max()) + 1)
        # Rows and columns apart: r c / n, of the middles of their classes, 1.5 * 2^(class - 1).
        total = int((3 << of_rows[of_rows > 0]).sum()) / 4
        first = np.minimum(np.ldexp(2.25, sums - 2) / total, 0.9)
        self.flags = _Shares(np.full(_FLAGS * sums.size, 0.4), np.repeat(0.4 / first, _FLAGS))
        self.signs = _Shares(np.full(_SIGNS, 0.5), np.full(_SIGNS, 1.0))
        self.sizes = _Shares(np.full(_SIZES * _NEAR, 0.5), np.full(_SIZES * _NEAR, 1.0))
        self.halves = _Shares(np.full(_SIZES, 0.5), np.full(_SIZES, 1.0))

    def row(
        self, coder: Any, row: np.ndarray, sums: np.ndarray, before: np.ndarray, other: np.ndarray
    ) -> None:
        """Codes a row in place."""
        near = (before != 0).astype(np.int64) + 2 * (other != 0)
        kept = self.flags.ask(coder, _FLAGS * sums + near, lambda: row != 0)
        places = np.flatnonzero(kept)
        if not places.size:
            return
        before, other, values = before[places], other[places], row[places]
        lean = 3 * np.sign(before) + np.sign(other) + 4
        minus = self.signs.ask(coder, lean, lambda: values < 0)
        near = np.minimum(_bit_length(np.maximum(abs(before), abs(other))), _NEAR - 1)
        sizes = self._sizes(coder, abs(values), near)
        row[places] = np.where(minus, -sizes, sizes)

    def _sizes(self, coder: Any, sizes: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Codes numbers from 1 on: how many bits, one by one, then these."""
        length = _bit_length(sizes) - 1
        found, open_ = np.zeros(sizes.size, np.int64), np.arange(sizes.size)
        for bits in range(MOST_BITS):
            more = partial(np.greater, length[open_], bits)
            open_ = open_[self.sizes.ask(coder, bits * _NEAR + near[open_], more)]
            if not open_.size:
                break
            found[open_] += 1
        values = np.ones(sizes.size, np.int64)
        for bits in range(int(found.max())):
            on = np.flatnonzero(found > bits)
            bit = partial(_bit, sizes[on], length[on] - 1 - bits)
            if bits:  # as good as equal
                one = coder.bits(np.full(on.size, 0.5), bit)
            else:
                one = self.halves.ask(coder, found[on], bit)
            values[on] = 2 * values[on] + one
        return values


def _bit(numbers: np.ndarray, place: np.ndarray) -> np.ndarray:
    found: np.ndarray = (numbers >> np.maximum(place, 0)) & 1 == 1
    return found


def _bit_length(numbers: np.ndarray) -> np.ndarray:
    """Returns the bits of whole numbers from 0 on: 0, 1, 2, 2, 3, ..."""
    return np.frexp(np.asarray(numbers, float))[1].astype(np.int64)
