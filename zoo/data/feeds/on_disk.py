"""A column that stays on the disk: it stands in the place of an array, and is read by index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self, overload

import numpy as np


class OnDisk(ABC):
    """Examples in the place of an array (n, ...).

    A slice or an array of indices gives fewer of them, unread; `numpy.asarray` reads them all.

    Attributes:
        dtype: Their element type.
        encoded: Whether an example is the bytes of a picture file, see `files`.
    """

    dtype: np.dtype
    encoded: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that they stand for."""

    @abstractmethod
    def read(self, chosen: np.ndarray) -> np.ndarray:
        """Reads some examples (k, ...).

        Args:
            chosen: Indices (k,).

        Raises:
            FileNotFoundError: A file is gone.
            ValueError: A file is no longer whole.
        """

    @abstractmethod
    def some(self, which: slice | np.ndarray) -> Self:
        """Returns fewer of them, unread."""

    def files(self, chosen: np.ndarray) -> list[bytes]:
        """Returns the picture files of some examples as they are.

        Raises:
            FileNotFoundError, ValueError: See `read`.
        """
        raise NotImplementedError

    def shaped(self, *, size: int | None = None, channels: int | None = None) -> Self:
        """Returns the same pictures in another size, in grey or in colour; `None` changes nothing.

        Args:
            size: Side in pixels, see `zoo.common.images.fit`.
            channels: 1 or 3.
        """
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Axes of the array that they stand for."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array that they stand for."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @overload
    def __getitem__(self, which: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, which: slice | np.ndarray) -> Self: ...

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray | Self:
        if isinstance(which, (int, np.integer)):
            return self.read(np.array([which]))[0]
        return self.some(which)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.read(np.arange(len(self)))


BLOCK_BYTES = 2**26  # of a block, about


def blocks(column: np.ndarray | OnDisk, size: int = 1000) -> Iterator[np.ndarray]:
    """Gives a column in parts of at most `size` examples, read one after another."""
    size = max(1, min(size, BLOCK_BYTES * len(column) // max(1, column.nbytes)))
    for start in range(0, len(column), size):
        yield np.asarray(column[start : start + size])
