"""A column of pictures that stay on the disk and are read when a batch needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from zoo.common.images import pixels, recolour
from zoo.common.picture_files import read_image

THREADS = 4  # Pillow decodes without holding Python's lock
AHEAD = 256
T = TypeVar("T")
R = TypeVar("R")


class Pictures:
    """Picture files in the place of an array (n, size, size, channels), uint8.

    A slice or an array of indices gives fewer pictures, unread; `numpy.asarray` reads them all.

    Args:
        paths: The files.
        size: Side of the images in pixels, see `zoo.common.images.fit`.
        channels: 1 for grey, 3 for colour.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, paths: Sequence[Path] | np.ndarray, *, size: int, channels: int):
        self.paths = np.asarray([str(path) for path in paths], dtype=str)
        self.size, self.channels = size, channels

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array that they stand for."""
        return len(self), self.size, self.size, self.channels

    @property
    def nbytes(self) -> int:
        """Bytes of the array that they stand for."""
        return int(np.prod(self.shape, dtype=np.int64))

    @overload
    def __getitem__(self, which: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, which: slice | np.ndarray) -> Pictures: ...

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray | Pictures:
        if isinstance(which, (int, np.integer)):
            return self.read(np.array([which]))[0]
        return Pictures(self.paths[which], size=self.size, channels=self.channels)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.read(np.arange(len(self)))

    def with_channels(self, channels: int) -> Pictures:
        """Returns the same pictures in grey or in colour."""
        return Pictures(self.paths, size=self.size, channels=channels)

    def with_size(self, size: int) -> Pictures:
        """Returns the same pictures in another size."""
        return Pictures(self.paths, size=size, channels=self.channels)

    def read(self, chosen: np.ndarray) -> np.ndarray:
        """Reads some pictures (k, size, size, channels), uint8.

        Args:
            chosen: Indices (k,).

        Raises:
            FileNotFoundError: A file is gone.
            ValueError: A file is no longer a whole picture.
        """
        colour = np.empty((len(chosen), self.size, self.size, 3), np.uint8)
        for place, index in enumerate(chosen):
            colour[place] = pixels(read_image(self.paths[index]), size=self.size, channels=3)
        return recolour(colour, self.channels)


def each(files: Sequence[T], look: Callable[[T], R]) -> Iterator[R]:
    """Gives what a function makes of each file, in order, a few at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(files), AHEAD):  # no more results wait in memory
            yield from pool.map(look, files[start : start + AHEAD])


def blocks(column: np.ndarray | Pictures, size: int = 1000) -> Iterator[np.ndarray]:
    """Gives a column in parts of at most `size` examples, read one after another."""
    for start in range(0, len(column), size):
        yield np.asarray(column[start : start + size])
