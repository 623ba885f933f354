"""Four kinds of waves of several lengths, drawn by a formula: whose order in time tells the class.

Sine, square, triangle and sawtooth of a random period, phase and size, with noise; drawn here.
2,400 signals of 40 to 80 places, padded as `zoo.data.own.ts_files` says.
"""

from __future__ import annotations

import numpy as np

from zoo.data.dataset import DataSet
from zoo.data.own.ts_files import labelled

CLASSES = ("sawtooth", "sine", "square", "triangle")
EACH = 600
LENGTHS = (40, 80)
PERIODS = (12, 30)  # places
NOISE = 0.2


def load() -> DataSet:
    """Draws the signals: `series` (80, 2) and `label`."""
    random = np.random.RandomState(0)
    signals, labels = [], []
    for label in CLASSES:
        for _ in range(EACH):
            length = random.randint(LENGTHS[0], LENGTHS[1] + 1)
            way = (np.arange(length) / random.uniform(*PERIODS) + random.uniform()) % 1
            wave = random.uniform(0.5, 1.5) * _wave(label, way)
            signals.append((wave + NOISE * random.normal(size=length)).astype(np.float32)[:, None])
            labels.append(label)
    # One is as long as can be, whatever was drawn: the shape is that of the row.
    signals[0] = np.resize(signals[0], (LENGTHS[1], 1))
    return labelled(
        "waveforms", "drawn by a formula, zoo.data.sets.waveforms", CLASSES, (signals, labels)
    )


def _wave(kind: str, way: np.ndarray) -> np.ndarray:
    """A wave from -1 to 1, by the share of its period."""
    if kind == "sine":
        return np.asarray(np.sin(2 * np.pi * way))
    if kind == "square":
        return np.asarray(np.where(way < 0.5, 1.0, -1.0))
    if kind == "triangle":
        return np.asarray(4 * np.abs(way - 0.5) - 1)
    return 2 * way - 1
