"""Signals in files, for a model that is asked about them.

`.csv`: numbers without a header, a line for each place of one signal, its features side by side; of
a model of one feature also a signal on each line, all of one length. `.npy`: one signal (time,) or
(time, features), or several (n, time, features). `.ts`: see `zoo.data.ts_files`; the classes are
not looked at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.common import reading
from zoo.data import ts_files
from zoo.data.text_files import text_lines

SUFFIXES = (".csv", ".npy", ".ts")


def read(path: str | Path, features: int) -> list[np.ndarray]:
    """Returns the signals of a file, each (time, `features`), float32.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no signals of so many features.
    """
    path = Path(path)
    expected = f"{', '.join(SUFFIXES)} of signals of {features} feature{'s' * (features > 1)}"
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected {expected}.")
    if path.suffix == ".ts":
        _, signals, _ = ts_files.read_ts(path)
    elif path.suffix == ".npy":
        values = reading.array(path, f"a {expected}")
        if values.dtype.kind not in "fiu" or not 1 <= values.ndim <= 3:
            raise ValueError(f"{path}: got {values.dtype} {values.shape}; expected {expected}.")
        signals = _signals(values.astype(np.float32))
    else:
        table = _table(path, expected)
        rows = features == 1 and table.shape[1] > 1  # a signal on each line
        signals = [row[:, None] for row in table] if rows else [table]
    for signal in signals:
        if signal.shape[1] != features or not len(signal):
            raise ValueError(
                f"{path}: got {signal.shape}, (places, features); expected {expected}."
            )
        if not np.isfinite(signal).all():
            raise ValueError(f"{path}: got NaN or infinite values; expected finite ones.")
    return signals


def _signals(values: np.ndarray) -> list[np.ndarray]:
    if values.ndim == 3:
        return list(values)
    return [values[:, None] if values.ndim == 1 else values]


def _table(path: Path, expected: str) -> np.ndarray:
    lines = text_lines(reading.text(path, f"a {expected}"))
    cells = [line.split(",") for line in lines if line.strip()]
    try:
        table: np.ndarray = np.array(cells, dtype=np.float32)  # refuses a short line, and a word
    except ValueError:
        table = np.zeros(0, np.float32)
    if table.ndim != 2:
        raise ValueError(
            f"{path}: got lines of several lengths, or no numbers; expected {expected}, without a "
            "header."
        )
    return table
