"""How a raw example becomes an input of the model: scaled, then standardised.

An image is standardised by channel, a table's row by feature. The settings are measured on the
training split, travel in `card.json` and `manifest.json`, and are applied alike by training,
`zoo predict` and a server: y = (x * scale - mean) / std.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from zoo.common import preprocessing
from zoo.common.images import PAD
from zoo.data.feeds.on_disk import OnDisk, blocks
from zoo.data.own.number_tables import read_table

Count = Annotated[int, Field(ge=1)]
MOST_SIZE = 2**14  # pixels


class Preprocessing(preprocessing.Preprocessing):
    """From pixels or features to inputs; `model_dump` and `parse` are its plain form and back.

    Attributes:
        size: Side of the square images, in pixels; `None` for a table's rows.
        channels: 1 for grey, 3 for RGB; the number of features of a table's row.
        scale: What a pixel (0 to 255) or a feature is multiplied by first.
        mean: Mean of each channel of the scaled values.
        std: Standard deviation of each channel of the scaled values.
        pad: A picture up to this many pixels smaller gets a frame of zeros; others are resized.
    """

    size: Annotated[int, Field(ge=1, le=MOST_SIZE)] | None
    channels: Count
    scale: Annotated[float, Field(gt=0)] = 1 / 255
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    pad: Annotated[int, Field(ge=0, le=MOST_SIZE)] = PAD

    @model_validator(mode="after")
    def _one_per_channel(self) -> Self:
        if self.size is not None and self.channels not in (1, 3):
            raise ValueError(
                f"Preprocessing: channels got {self.channels}; expected 1 for grey or 3 for RGB."
            )
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"Preprocessing: got {len(self.mean)} means and {len(self.std)} deviations; "
                f"expected one of each for {self.channels} channels."
            )
        return self

    @classmethod
    def measure(cls, examples: np.ndarray | OnDisk) -> Preprocessing:
        """Measures mean and deviation: exactly, from the histogram of the pixels; or in float64.

        A deviation below one grey level becomes one grey level, and that of a constant feature
        becomes 1, so that a constant channel gives zeros.

        Args:
            examples: Training examples: pixels (n, size, size, channels), uint8; or a table's rows
                (n, features), float32.

        Raises:
            ValueError: The images are not square, or there is no example.
        """
        if examples.ndim == 2 and len(examples):
            mean, std, most = _spread(examples)  # (features,)
            std[std <= 1e-6 * most] = 1  # nothing but rounding
            features, middle, spread = len(mean), tuple(mean.tolist()), tuple(std.tolist())
            return cls(size=None, channels=features, scale=1.0, mean=middle, std=spread)
        if not len(examples) or examples.ndim != 4 or examples.shape[1] != examples.shape[2]:
            raise ValueError(
                f"Preprocessing: got images {examples.shape}; expected at least one, square."
            )
        num, height, width, channels = examples.shape
        scale = cls.model_fields["scale"].default
        levels = np.arange(256) * scale
        counts = _histograms(examples)  # (channels, 256)
        means, deviations = [], []
        for channel in range(channels):
            share = counts[channel] / (num * height * width)
            mean = share @ levels
            means.append(float(mean))
            deviations.append(float(max(np.sqrt(share @ (levels - mean) ** 2), scale)))
        return cls(size=height, channels=channels, mean=tuple(means), std=tuple(deviations))

    def rows(self, path: str | Path) -> np.ndarray:
        """Reads a table's rows (n, channels), float32, in the data set's order and units.

        Args:
            path: A CSV file of numbers, one row for each example; a header is read over.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not a table with that many features.
        """
        path = Path(path)
        wish = f"a CSV file of numbers, {self.channels} in a row"
        _, table = read_table(path, wish)
        if table.shape[1:] != (self.channels,) or not np.isfinite(table).all():
            raise ValueError(f"{path}: got a table {table.shape}; expected {wish}.")
        return table


def _spread(examples: np.ndarray | OnDisk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, deviation and largest size of each feature of rows (n, features), in float64."""
    if not isinstance(examples, OnDisk):
        rows = np.asarray(examples, np.float64)
        return rows.mean(axis=0), rows.std(axis=0), np.abs(rows).max(axis=0)
    num, most = len(examples), np.zeros(examples.shape[1])
    mean, squares = most.copy(), most.copy()
    for block in blocks(examples):
        mean += block.sum(axis=0, dtype=np.float64) / num
        most = np.maximum(most, np.abs(block).max(axis=0))
    for block in blocks(examples):
        squares += ((block - mean) ** 2).sum(axis=0) / num
    return mean, np.sqrt(squares), most


def _histograms(examples: np.ndarray | OnDisk) -> np.ndarray:
    """How often each level of each channel occurs, (channels, 256)."""
    channels = examples.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for block in blocks(examples):  # bincount copies its input to 64 bits
        for channel in range(channels):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    return counts
