"""A column of pictures that stay on the disk and are read when a batch needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from zoo.common.images import pixels, recolour
from zoo.common.picture_files import read_image
from zoo.data.feeds.on_disk import OnDisk

THREADS = 4  # Pillow decodes without holding Python's lock
AHEAD = 256
T = TypeVar("T")
R = TypeVar("R")


class Pictures(OnDisk):
    """Picture files in the place of an array (n, size, size, channels), uint8.

    Args:
        paths: The files.
        size: Side of the images in pixels, see `zoo.common.images.fit`.
        channels: 1 for grey, 3 for colour.
    """

    dtype = np.dtype(np.uint8)
    encoded = True

    def __init__(self, paths: Sequence[Path] | np.ndarray, *, size: int, channels: int):
        self.paths = np.asarray([str(path) for path in paths], dtype=str)
        self.size, self.channels = size, channels

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array that they stand for."""
        return len(self), self.size, self.size, self.channels

    def some(self, which: slice | np.ndarray) -> Pictures:
        """See `OnDisk.some`."""
        return Pictures(self.paths[which], size=self.size, channels=self.channels)

    def shaped(self, *, size: int | None = None, channels: int | None = None) -> Pictures:
        """See `OnDisk.shaped`."""
        size, channels = size or self.size, channels or self.channels
        return Pictures(self.paths, size=size, channels=channels)

    def read(self, chosen: np.ndarray) -> np.ndarray:
        """See `OnDisk.read`: pictures (k, size, size, channels), uint8."""
        colour = np.empty((len(chosen), self.size, self.size, 3), np.uint8)
        for place, index in enumerate(chosen):
            colour[place] = pixels(read_image(self.paths[index]), size=self.size, channels=3)
        return recolour(colour, self.channels)

    def files(self, chosen: np.ndarray) -> list[bytes]:
        """See `OnDisk.files`."""
        return [Path(self.paths[index]).read_bytes() for index in chosen]


def each(files: Sequence[T], look: Callable[[T], R]) -> Iterator[R]:
    """Gives what a function makes of each file, in order, a few at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(files), AHEAD):  # no more results wait in memory
            yield from pool.map(look, files[start : start + AHEAD])
