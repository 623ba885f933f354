"""Signals in files, for a model that is asked about them.

`.csv`: numbers, a line for each place of one signal, its features side by side; a header may stand
above them. Of a model of one feature several signals: with a header, a column each; without one, a
line each, all of one length. `.npy`: one signal (time,) or (time, features), or several (n, time,
features). `.ts`: see `zoo.data.own.ts_files`; the classes are not looked at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.common import reading
from zoo.data.own import ts_files
from zoo.data.own.number_tables import POINT, Table, read_table

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
        signals = _of_table(path, read_table(path, f"a {expected}"), features)
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


def _of_table(path: Path, table: Table, features: int) -> list[np.ndarray]:
    names, values = table
    if features > 1 or values.shape[1] == 1:
        return [values]
    if names:
        return [column[:, None] for column in values.T]
    if values.shape[1] == 2 < len(values) and not (values % 1).any():
        raise ValueError(
            f"{path}: got {len(values)} lines of two whole numbers; expected a signal on each line,"
            f" or a place of one. {POINT}"
        )
    return [row[:, None] for row in values]
