"""How a raw image becomes an input of the model: scaled, then standardised by channel.

The settings are measured on the training split, travel in `card.json` and `manifest.json`, and are
applied alike by training, `zoo predict` and a server: y = (x * scale - mean) / std.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from zoo.data.dataset import Split
from zoo.data.images import pixels, read
from zoo.settings import Settings


class Preprocessing(Settings):
    """From pixels to inputs; `model_dump` and `parse` are its plain form and back.

    Attributes:
        size: Side of the square images, in pixels.
        channels: 1 for grey, 3 for RGB.
        scale: What a pixel (0 to 255) is multiplied by first.
        mean: Mean of each channel of the scaled pixels.
        std: Standard deviation of each channel of the scaled pixels.
    """

    size: Annotated[int, Field(ge=1)]
    channels: Literal[1, 3]
    scale: Annotated[float, Field(gt=0)] = 1 / 255
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _one_per_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"Preprocessing: got {len(self.mean)} means and {len(self.std)} deviations; "
                f"expected one of each for {self.channels} channels."
            )
        return self

    @classmethod
    def measure(cls, split: Split) -> Preprocessing:
        """Measures mean and deviation, exactly, from the histogram of the pixels.

        A deviation below one grey level becomes one grey level, so that a constant channel gives
        zeros.

        Args:
            split: Square training images.

        Raises:
            ValueError: The images are not square, or there are none.
        """
        num, height, width, channels = split.images.shape
        if not num or height != width:
            raise ValueError(
                f"Preprocessing: got images {split.images.shape}; expected at least one, square."
            )
        scale = cls.model_fields["scale"].default
        levels = np.arange(256) * scale
        means, deviations = [], []
        for channel in range(channels):
            share = _histogram(split.images[..., channel]) / (num * height * width)
            mean = share @ levels
            means.append(float(mean))
            deviations.append(float(max(np.sqrt(share @ (levels - mean) ** 2), scale)))
        return cls(size=height, channels=channels, mean=tuple(means), std=tuple(deviations))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Turns pixels into inputs.

        Args:
            images: Pixels (n, size, size, channels), uint8.

        Returns:
            Inputs (n, size, size, channels), float32.

        Raises:
            ValueError: The images have another shape.
        """
        self.check(images)
        factor, offset = self.affine
        inputs: np.ndarray = images * factor + offset
        return inputs

    def check(self, images: np.ndarray) -> None:
        """Refuses pixels of another shape or type than (n, size, size, channels), uint8.

        Raises:
            ValueError: They differ.
        """
        expected = (self.size, self.size, self.channels)
        if images.shape[1:] != expected or images.dtype != np.uint8:
            raise ValueError(
                f"images: got {images.dtype} {images.shape}; "
                f"expected uint8 (n, {', '.join(map(str, expected))})."
            )

    @property
    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Factor and offset of each channel (channels,), float32: y = x * factor + offset."""
        std = np.asarray(self.std)
        factor, offset = self.scale / std, -np.asarray(self.mean) / std
        return factor.astype(np.float32), offset.astype(np.float32)

    def image(self, path: str | Path) -> np.ndarray:
        """Reads a picture as pixels (size, size, channels), uint8, see `zoo.data.images`.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not a whole picture.
        """
        return pixels(read(path), size=self.size, channels=self.channels)


def _histogram(channel: np.ndarray) -> np.ndarray:
    counts = np.zeros(256, np.int64)
    for start in range(0, len(channel), 1000):  # in blocks: bincount copies its input to 64 bits
        counts += np.bincount(channel[start : start + 1000].ravel(), minlength=256)
    return counts
