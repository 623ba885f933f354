"""Signals to forecast: windows of what was, and what comes behind them.

An example is a window of a signal and the next `HORIZON` values. Training windows begin at every
place; those of validation and test follow one another, so that what comes behind them is the signal
itself, each value once. The last part of a signal is the test part, the part before it validation.

`sine`: sin(2 pi t / 40.01), the signal that a forecast has to keep in phase, 1,000 places of it as
the test part. In 75 periods it moves by three quarters of a place, so that no window that is tested
was learnt. `sunspots`: the mean number of sunspots of each year since 1700, where statsmodels is
installed, whose BSD licence it comes under; SILSO, Royal Observatory of Belgium, public domain.
`signals:PATH`: a `.csv` file of one's own, a signal in each column below its name, a place on each
line. All signals are learnt from and tested with, each by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.common import reading
from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.data.own.number_tables import read_table
from zoo.data.sets.carried import carried
from zoo.data.texts.text_files import text_lines
from zoo.datasets import file_path

HORIZON = 20
WINDOW = 60
PERIOD = 40.01
AHEAD = 1000


def sine(*, size: int | None = None) -> DataSet:
    """Draws the sine.

    Args:
        size: Places of a window; `None` is `WINDOW`.
    """
    length = 2000 + AHEAD
    values = np.sin(2 * np.pi * np.arange(length) / PERIOD)
    source = f"drawn by a formula, zoo.data.sets.forecasts: a period of {PERIOD} places"
    return windows("sine", source, [values], size=size, held=200, test=AHEAD)


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
    return windows("sunspots", "statsmodels, sunspots.csv", [values], size=size, held=40, test=60)


def load(name: str, *, size: int | None = None) -> DataSet:
    """Reads signals of the user's own.

    The last tenth is the test part, a twentieth before it validation, in whole steps of `HORIZON`.

    Args:
        name: `signals:PATH`, a table with a header, see above.
        size: Places of a window; `None` is `WINDOW`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is no row of numbers, there is no header, or the signals are too short.
    """
    path = file_path(name)
    names, values = read_table(path, "a .csv file of numbers, a signal in each column")
    if not names:
        raise ValueError(
            f"{path}:1: got numbers; expected the name of each signal, and its values below."
        )
    if not np.isfinite(values).all():
        line, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{path}: got {values[line, column]} as value {line + 1} of {names[column]}; expected "
            "finite ones, none missing."
        )
    test, held = (max(1, round(len(values) / part / HORIZON)) * HORIZON for part in (10, 20))
    source = f"{path}: {', '.join(names)}"
    return windows(name, source, list(values.T), size=size, held=held, test=test)


def windows(
    name: str,
    source: str,
    signals: Sequence[np.ndarray],
    *,
    size: int | None,
    held: int,
    test: int,
) -> DataSet:
    """Returns signals as windows and what comes behind them.

    Args:
        name: Name of the data set.
        source: Where it was read from.
        signals: Each (time,), in its own unit; all of one length.
        size: Places of a window; `None` is `WINDOW`.
        held: Values of the validation part of each, a multiple of `HORIZON`.
        test: Values of the test part, likewise.

    Returns:
        `series` (size, 1) and `ahead` (HORIZON, 1).

    Raises:
        ValueError: A window has fewer than 2 places, or too few windows are left to learn from.
    """
    size = WINDOW if size is None else size
    time = len(signals[0])
    begins = time - held - test
    most = begins - HORIZON - 10
    if most < 2:
        raise ValueError(f"{name}: got {time} places; expected at least {time + 2 - most}.")
    if not 2 <= size <= most:
        raise ValueError(f"size: got {size} for {name}; expected windows of 2 to {most} places.")
    learnt = _split(signals, np.arange(size, begins - HORIZON + 1), size)
    order = np.random.RandomState(0).permutation(len(learnt))
    return DataSet(
        name,
        f"{source}, {sum(map(len, signals)):,} values",
        {"series": Column("series", (size, 1)), "ahead": Column("series", (HORIZON, 1))},
        learnt[order],
        _split(signals, np.arange(begins, begins + held, HORIZON), size),
        _split(signals, np.arange(begins + held, time, HORIZON), size),
    )


def _split(signals: Sequence[np.ndarray], starts: np.ndarray, size: int) -> Split:
    """Windows that end before some places, and what stands from there on; signal by signal."""
    values = np.asarray(signals, np.float32)[..., None]  # (signals, time, 1)
    window, ahead = (starts[:, None] + np.arange(*ends) for ends in ((-size, 0), (HORIZON,)))
    found = {"series": values[:, window], "ahead": values[:, ahead]}  # (signals, n, places, 1)
    return Split({name: one.reshape(-1, *one.shape[2:]) for name, one in found.items()})
