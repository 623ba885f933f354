"""Where to cut a range off: from what passes through a tensor to the ends of its grid.

Sources: Migacz 2017, 8-bit inference with TensorRT, GTC (entropy); Banner et al. 2019,
arXiv:1810.05723 (clipping at the least squared error); percentiles are usual practice.
"""

from __future__ import annotations

import numpy as np

METHODS = ("minmax", "percentile", "mse", "entropy")
BINS = 2048
LEVELS = 128  # of `entropy`, on one side of 0
CANDIDATES = 80


class Histogram:
    """What passes through one tensor: its ends first, then how often each value occurs.

    Args:
        name: Name of the tensor, for errors.

    Attributes:
        lo: Smallest value, at most 0.
        hi: Largest value, at least 0.
        counts: (`BINS`,), of the values between them.
        finite: Whether all values are.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.lo = self.hi = 0.0
        self.finite = True
        self.counts = np.zeros(BINS)

    def widen(self, values: np.ndarray) -> None:
        """Takes the ends of some values into account.

        Nothing is raised here, within the call of a layer, where Keras would make a page of it.
        """
        lo, hi = float(values.min()), float(values.max())
        if np.isfinite(lo + hi):
            self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
        else:
            self.finite = False

    def check(self) -> None:
        """Refuses what is not finite.

        Raises:
            ValueError: A value was not.
        """
        if not self.finite:
            raise ValueError(
                f"quantize: {self.name!r}: got values that are not finite; expected weights and"
                " samples that do not overflow."
            )

    def count(self, values: np.ndarray) -> None:
        """Counts values between the ends."""
        counts, _ = np.histogram(values, BINS, (self.lo, max(self.hi, self.lo + 1e-12)))
        self.counts += counts

    def limits(
        self, method: str, *, bits: int = 8, percentile: float = 99.99
    ) -> tuple[float, float]:
        """Returns the ends of the grid.

        Args:
            method: One of `METHODS`.
            bits: Width of the grid.
            percentile: Share of the values that lie within, in percent, for `percentile`.
        """
        if method == "minmax" or not self.counts.sum() or self.hi <= self.lo:
            return self.lo, self.hi
        if method == "percentile":
            return self._percentile(percentile)
        return self._least_squares(bits) if method == "mse" else self._entropy()

    @property
    def _centres(self) -> np.ndarray:
        edges = np.linspace(self.lo, self.hi, BINS + 1)
        return (edges[1:] + edges[:-1]) / 2

    def _percentile(self, percentile: float) -> tuple[float, float]:
        shares = np.cumsum(self.counts) / self.counts.sum()
        outside = (1 - percentile / 100) / (2 if self.lo < 0 < self.hi else 1)
        low, high = np.searchsorted(shares, [outside, 1 - outside])
        lo = float(self._centres[low]) if self.lo < 0 else 0.0
        hi = float(self._centres[min(high, BINS - 1)]) if self.hi > 0 else 0.0
        return min(lo, 0.0), max(hi, 0.0)

    def _least_squares(self, bits: int) -> tuple[float, float]:
        centres, steps = self._centres, 2**bits - 1

        def error(share: float) -> float:
            lo, hi = share * self.lo, share * self.hi
            scale = (hi - lo) / steps
            rounded = np.round((np.clip(centres, lo, hi) - lo) / scale) * scale + lo
            return float(np.sum(self.counts * (rounded - centres) ** 2))

        best = min(np.linspace(1, 1 / CANDIDATES, CANDIDATES), key=error)
        return float(best * self.lo), float(best * self.hi)

    def _entropy(self) -> tuple[float, float]:
        """Cuts where the magnitudes' distribution and its coarse copy differ least."""
        top = max(-self.lo, self.hi)
        bins = max(LEVELS, int(BINS * top / (self.hi - self.lo)))  # as wide as those counted in
        sizes, _ = np.histogram(np.abs(self._centres), bins, (0, top), weights=self.counts)
        sizes[0] = 0  # zeros, of which a ReLU makes many, are exact wherever the range ends
        divergences = {}
        for cut in range(LEVELS, bins + 1, 8):
            kept = sizes[:cut].copy()
            kept[-1] += sizes[cut:].sum()  # what lies outside is at the end
            divergences[cut] = _divergence(kept, _coarse(sizes[:cut]))
        cut = min(divergences, key=lambda key: divergences[key])
        limit = top * cut / bins
        return max(self.lo, -limit), min(self.hi, limit)


def _coarse(counts: np.ndarray) -> np.ndarray:
    """The counts on `LEVELS` levels, each spread over those of its bins that hold any."""
    level = np.arange(counts.size) * LEVELS // counts.size
    full = counts > 0
    sums = np.bincount(level, counts, LEVELS)
    numbers = np.bincount(level, full, LEVELS)
    spread: np.ndarray = np.where(full, (sums / np.maximum(numbers, 1))[level], 0.0)
    return spread


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback and Leibler's, smoothed: q may be 0 where p is not."""
    p, q = p / max(p.sum(), 1), q / max(q.sum(), 1)
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / np.maximum(q[there], 1e-6))))
