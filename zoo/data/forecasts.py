"""Signals to forecast: windows of what was, and what comes behind them.

An example is a window of a signal and the next `HORIZON` values. Training windows begin at every
place; those of validation and test follow one another, so that what comes behind them is the signal
itself, each value once. The last part of a signal is the test part, the part before it validation.

`sine`: sin(2 pi t / 40), the signal that a forecast has to keep in phase, 1,000 places of it as the
test part. `sunspots`: the mean number of sunspots of each year since 1700, where statsmodels is
installed, whose BSD licence it comes under; SILSO, Royal Observatory of Belgium, public domain.
"""

from __future__ import annotations

import numpy as np

from zoo.common import reading
from zoo.common.columns import Column
from zoo.data.carried import carried
from zoo.data.dataset import DataSet, Split
from zoo.data.text_files import text_lines

HORIZON = 20
WINDOW = 60
PERIOD = 40
AHEAD = 1000


def sine(*, size: int | None = None) -> DataSet:
    """Draws the sine.

    Args:
        size: Places of a window; `None` is `WINDOW`.
    """
    length = 2000 + AHEAD
    values = np.sin(2 * np.pi * np.arange(length) / PERIOD)
    source = f"drawn by a formula, zoo.data.forecasts: a period of {PERIOD} places"
    return windows("sine", source, values, size=size, held=200, test=AHEAD)


def sunspots(*, size: int | None = None) -> DataSet:
    """Reads the sunspots of each year.

    Args:
        size: Places of a window; `None` is `WINDOW`.

    Raises:
        ModuleNotFoundError: statsmodels is not installed.
    """
    advice = "run: pip install statsmodels; or take another data set, e.g. sine."
    file = "datasets/sunspots/sunspots.csv"
    path = carried("statsmodels", file, data="sunspots", advice=advice)
    lines = text_lines(reading.text(path, "a table of years and numbers"))[1:]
    values = np.array([line.split(",")[1].strip('"') for line in lines if line], np.float64)
    return windows("sunspots", "statsmodels, sunspots.csv", values, size=size, held=40, test=60)


def windows(
    name: str, source: str, values: np.ndarray, *, size: int | None, held: int, test: int
) -> DataSet:
    """Returns a signal as windows and what comes behind them.

    Args:
        name: Name of the data set.
        source: Where it was read from.
        values: The signal (time,), in its own unit.
        size: Places of a window; `None` is `WINDOW`.
        held: Values of the validation part, a multiple of `HORIZON`.
        test: Values of the test part, likewise.

    Returns:
        `series` (size, 1) and `ahead` (HORIZON, 1).

    Raises:
        ValueError: A window has fewer than 2 places, or too few windows are left to learn from.
    """
    size = WINDOW if size is None else size
    begins = len(values) - held - test
    most = begins - HORIZON - 10
    if not 2 <= size <= most:
        raise ValueError(f"size: got {size} for {name}; expected windows of 2 to {most} places.")
    signal = np.asarray(values, np.float32)[:, None]
    learnt = _split(signal, np.arange(size, begins - HORIZON + 1), size)
    order = np.random.RandomState(0).permutation(len(learnt))
    return DataSet(
        name,
        f"{source}, {len(values):,} values",
        {"series": Column("series", (size, 1)), "ahead": Column("series", (HORIZON, 1))},
        learnt[order],
        _split(signal, np.arange(begins, begins + held, HORIZON), size),
        _split(signal, np.arange(begins + held, len(values), HORIZON), size),
    )


def _split(signal: np.ndarray, starts: np.ndarray, size: int) -> Split:
    """Windows that end before some places, and what stands from there on."""
    return Split(
        {
            "series": signal[starts[:, None] + np.arange(-size, 0)],
            "ahead": signal[starts[:, None] + np.arange(HORIZON)],
        }
    )
