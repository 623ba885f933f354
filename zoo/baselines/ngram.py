"""An n-gram model of a text: how often what followed the last few tokens; what an LSTM has to beat.

Source: Witten & Bell 1991, The zero-frequency problem, IEEE Trans. Inf. Theory 37(4), method C,
interpolated: p(x | h) = (c(h x) + u(h) p(x | h')) / (c(h) + u(h)), where c counts in the training
text, u(h) is the number of different tokens that followed h, and h' is h without its first token;
the shortest history has no token, and what it falls back to is one share for each token of the
vocabulary. The model stays as it is while it is measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class _Order(NamedTuple):
    """Counts of one length of history; keys are tokens as the digits of one number, sorted."""

    grams: np.ndarray  # history and the token behind it
    counts: np.ndarray
    histories: np.ndarray
    totals: np.ndarray  # c(h)
    kinds: np.ndarray  # u(h)


class NGram:
    """Counts a text once.

    Args:
        windows: Tokens (n, time); nothing is counted across two windows, so a whole text is best
            given as one, (1, time).
        vocabulary: Number of tokens.
        order: Tokens of a gram, history and what follows; a history has `order` - 1.
        counted: How many of the last tokens of each window are counted, (n,), with histories that
            reach before them; `None`: all, each with as much of a history as there is.

    Raises:
        ValueError: The grams are too long to be numbered in 63 bits.
    """

    def __init__(
        self,
        windows: np.ndarray,
        *,
        vocabulary: int,
        order: int,
        counted: np.ndarray | None = None,
    ):
        if order < 1 or vocabulary**order >= 2**63:
            raise ValueError(
                f"NGram: got order {order} with {vocabulary} tokens; expected at least 1 and "
                "fewer than 2**63 different grams."
            )
        self._vocabulary, self._orders = vocabulary, []
        for length in range(order):
            numbers = _numbers(windows, length + 1, vocabulary)  # (n, time - length)
            if counted is not None:
                numbers = numbers[_last(numbers.shape[1], counted)]
            grams, counts = np.unique(numbers, return_counts=True)
            histories, first = np.unique(grams // vocabulary, return_index=True)
            kinds = np.diff(np.append(first, len(grams)))
            totals = np.add.reduceat(counts, first)
            self._orders.append(_Order(grams, counts, histories, totals, kinds))

    @property
    def counts(self) -> int:
        """Number of different grams that were counted."""
        return sum(len(order.grams) for order in self._orders)

    def bits(self, windows: np.ndarray, counted: np.ndarray) -> float:
        """Returns the mean bits of the last tokens of windows; see `log_shares`."""
        shares = self.log_shares(windows, counted)
        there = _last(shares.shape[1], counted)
        return float(-shares[there].mean() / np.log(2))

    def log_shares(self, windows: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Returns the logarithm of the share of each of the last tokens of windows.

        Args:
            windows: Tokens (n, time).
            counted: How many tokens of each window count, (n,); before them stand at least as many
                as a history has.

        Returns:
            (n, places), 0 where a token does not count.

        Raises:
            ValueError: Before what counts stand fewer tokens than a history has.
        """
        longest = len(self._orders) - 1
        if (windows.shape[1] - counted < longest).any():
            raise ValueError(f"NGram: got windows without {longest} tokens before what counts.")
        shape = len(windows), windows.shape[1] - longest
        shares = np.full(shape, 1 / self._vocabulary)
        for length, known in enumerate(self._orders):
            grams = _numbers(windows[:, longest - length :], length + 1, self._vocabulary)
            count = _look_up(grams, known.grams, known.counts)
            histories = grams // self._vocabulary
            total = _look_up(histories, known.histories, known.totals)
            kinds = _look_up(histories, known.histories, known.kinds)
            mixed = (count + kinds * shares) / np.maximum(total + kinds, 1)
            shares = np.where(total > 0, mixed, shares)
        return np.where(_last(shape[1], counted), np.log(shares), 0.0)


def _numbers(windows: np.ndarray, length: int, vocabulary: int) -> np.ndarray:
    """The grams of a length as numbers, (n, time - length + 1)."""
    places = windows.shape[1] - length + 1
    numbers = np.zeros((len(windows), places), np.int64)
    for place in range(length):
        numbers = numbers * vocabulary + windows[:, place : place + places]
    return numbers


def _last(places: int, counted: np.ndarray) -> np.ndarray:
    """Whether each of some places is one of the last that count, (n, places)."""
    found: np.ndarray = np.arange(places)[::-1] < counted[:, None]
    return found


def _look_up(keys: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each key, 0 where it is not known."""
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, values[places], 0)
