"""Columns of a pack: any record by its number, and no other.

Both checksums of a record are looked at whenever it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from zoo.common.columns import KINDS
from zoo.common.images import fit, pixels, recolour
from zoo.common.packs import AGAIN, FRAME, INDEX, MANIFEST, Part
from zoo.common.picture_files import decode_image
from zoo.data.feeds.on_disk import OnDisk
from zoo.data.feeds.pictures import each
from zoo.data.records.crc32c import masked

BLOCK = 32  # records that are read together, where all are read


class Records:
    """The records of a split.

    Args:
        root: Directory of the pack.
        part: The split, as the manifest has it.
        lengths: Bytes of each record without its frame (n,), as the index has them.
        narrow: The columns that the index has too, by name.

    Raises:
        FileNotFoundError: A shard is not there.
        ValueError: A shard has another size than was written.
    """

    def __init__(
        self, root: Path, part: Part, lengths: np.ndarray, narrow: Mapping[str, np.ndarray]
    ):
        self.files = [root / shard.file for shard in part.shards]
        self._lengths, self._narrow = lengths.astype(np.int64), dict(narrow)
        counts = [shard.examples for shard in part.shards]
        self._firsts = np.cumsum([0, *counts])  # number of the first record of each shard
        ends = np.cumsum(np.append(0, self._lengths + FRAME))
        begins = ends[self._firsts]
        sizes = [shard.size_bytes for shard in part.shards]
        if np.diff(begins).tolist() != sizes:
            raise ValueError(f"{root / INDEX}: does not fit {MANIFEST}; {AGAIN}.")
        self._offsets = ends[:-1] - np.repeat(begins[:-1], counts)
        for number, (file, size) in enumerate(zip(self.files, sizes, strict=True)):
            if not file.is_file():
                raise FileNotFoundError(f"{file}: no such file; expected a shard; {AGAIN}.")
            if (found := file.stat().st_size) != size:
                first, last = self._firsts[number], self._firsts[number + 1] - 1
                cut = int(np.searchsorted(self._offsets[first : last + 1], found, "right")) - 1
                where = f" It ends within {self._place(first + cut)}." if found < size else ""
                raise ValueError(f"{file}: got {found:,} bytes; expected {size:,}; {AGAIN}.{where}")

    def __len__(self) -> int:
        return len(self._lengths)

    def values(self, chosen: np.ndarray, names: Sequence[str]) -> list[list[bytes]]:
        """Reads columns of some records, in the order of their numbers.

        Args:
            chosen: Numbers (k,).
            names: Of the columns.

        Returns:
            For each column the values (k,).

        Raises:
            FileNotFoundError: A shard is gone.
            ValueError: A record is damaged, or is not the one that the index tells of.
        """
        chosen = np.asarray(chosen, np.int64)
        framed: list[bytes] = [b""] * len(chosen)
        shards = np.searchsorted(self._firsts, chosen, "right") - 1
        for shard in np.unique(shards):
            with self.files[shard].open("rb") as file:
                for place in np.flatnonzero(shards == shard):
                    file.seek(self._offsets[chosen[place]])
                    framed[place] = file.read(self._lengths[chosen[place]] + FRAME)
        bodies = self._checked(chosen, framed)
        found: list[list[bytes]] = [[] for _ in names]
        for number, body in zip(chosen, bodies, strict=True):
            try:
                features = tf.train.Example.FromString(body).features.feature
                for values, name in zip(found, names, strict=True):
                    values.append(features[name].bytes_list.value[0])
                same = all(
                    features[name].bytes_list.value[0] == plain(values[number]).tobytes()
                    for name, values in self._narrow.items()
                )
            except (DecodeError, IndexError):  # no example, or without such a column
                same = False
            if not same:  # e.g. shards that have changed places
                raise ValueError(f"{self.told(number)}: differs from {INDEX}; {AGAIN}.")
        return found

    def told(self, number: int) -> str:
        """Returns what an error line calls a record: its file, its number there, its offset."""
        shard = int(np.searchsorted(self._firsts, number, "right")) - 1
        return f"{self.files[shard]}: {self._place(number)}"

    def _place(self, number: int) -> str:
        shard = int(np.searchsorted(self._firsts, number, "right")) - 1
        return f"record {number - self._firsts[shard]} at byte {self._offsets[number]}"

    def _checked(self, chosen: np.ndarray, framed: Sequence[bytes]) -> list[bytes]:
        """Records without their frames; those that differ from what was written are refused."""
        lengths = self._lengths[chosen]
        for number, length, one in zip(chosen, lengths, framed, strict=True):
            if len(one) != length + FRAME:
                raise ValueError(f"{self.told(number)}: is cut short; {AGAIN}.")
        heads = np.array([struct.unpack("<QI", one[:12]) for one in framed], np.uint64)
        tails = np.array([struct.unpack("<I", one[-4:])[0] for one in framed], np.uint32)
        wrong = heads.reshape(-1, 2)[:, 0] != lengths.astype(np.uint64)
        wrong |= heads.reshape(-1, 2)[:, 1] != masked([one[:8] for one in framed])
        bodies = [one[12:-4] for one in framed]
        wrong |= tails != masked(bodies)
        if wrong.any():
            where = self.told(chosen[int(wrong.argmax())])
            raise ValueError(f"{where}: got bytes of another checksum; {AGAIN}.")
        return bodies


class Packed(OnDisk):
    """A column of records in the place of an array.

    Args:
        records: The records.
        name: Name of the column.
        rows: Numbers of the records that are meant (n,).
        kind: Kind of the column.
        shape: Shape of one example; of an image the sides are `size` of it.
        stored: Shape of one example as it was packed.
        encoded: Whether an example is a picture file.
    """

    def __init__(
        self,
        records: Records,
        name: str,
        rows: np.ndarray,
        *,
        kind: str,
        shape: tuple[int, ...],
        stored: tuple[int, ...],
        encoded: bool,
    ):
        self.records, self.name, self.rows = records, name, rows
        self._kind, self._shape, self._stored, self.encoded = kind, shape, stored, encoded
        self.dtype = np.dtype(KINDS[kind][0])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `OnDisk.shape`."""
        return len(self), *self._shape

    def some(self, which: slice | np.ndarray) -> Packed:
        """See `OnDisk.some`."""
        return self._with(rows=self.rows[which])

    def shaped(self, *, size: int | None = None, channels: int | None = None) -> Packed:
        """See `OnDisk.shaped`."""
        height, width, depth = self._shape
        return self._with(shape=(size or height, size or width, channels or depth))

    def _with(self, rows: np.ndarray | None = None, shape: tuple[int, ...] | None = None) -> Packed:
        return Packed(
            self.records,
            self.name,
            self.rows if rows is None else rows,
            kind=self._kind,
            shape=shape or self._shape,
            stored=self._stored,
            encoded=self.encoded,
        )

    def files(self, chosen: np.ndarray) -> list[bytes]:
        """See `OnDisk.files`."""
        return self.records.values(self.rows[chosen], [self.name])[0]

    def read(self, chosen: np.ndarray) -> np.ndarray:
        """See `OnDisk.read`."""
        return self.made(chosen, self.files(chosen))

    def made(self, chosen: np.ndarray, values: Sequence[bytes]) -> np.ndarray:
        """Returns the examples (k, ...) that some records hold.

        Args:
            chosen: Indices (k,), of which an error tells.
            values: What the records hold, (k,).

        Raises:
            ValueError: One is no example of this column.
        """
        if self.encoded:
            return self._decoded(chosen, values)
        stored = np.empty((len(values), *self._stored), self.dtype)
        for place, value in enumerate(values):
            if len(value) != stored[place].nbytes:
                where = self.records.told(self.rows[chosen[place]])
                raise ValueError(
                    f"{where}: {self.name}: got {len(value)} bytes; expected "
                    f"{stored[place].nbytes}; {AGAIN}."
                )
            one = np.frombuffer(value, self.dtype.newbyteorder("<"))
            stored[place] = one.reshape(self._stored)
        if self._shape == self._stored:
            return stored
        return fit(recolour(stored, self._shape[-1]), self._shape[0])

    def _decoded(self, chosen: np.ndarray, values: Sequence[bytes]) -> np.ndarray:
        """Pictures as `zoo.data.feeds.pictures.Pictures` reads them from their files."""
        side = self._shape[0]
        colour = np.empty((len(values), side, side, 3), np.uint8)
        for place, (index, value) in enumerate(zip(chosen, values, strict=True)):
            where = f"{self.records.told(self.rows[index])}: {self.name}"
            colour[place] = pixels(decode_image(value, where), size=side, channels=3)
        return recolour(colour, self._shape[-1])


def held(own: Mapping[str, Packed]) -> dict[str, np.ndarray]:
    """Returns columns of the same records as arrays; each record is read once.

    Args:
        own: The columns by name.

    Raises:
        FileNotFoundError, ValueError: See `Records.values`.
    """
    first = next(iter(own.values()))
    made = {name: np.empty(column.shape, column.dtype) for name, column in own.items()}

    def fill(start: int) -> None:
        chosen = np.arange(start, min(start + BLOCK, len(first)))
        found = first.records.values(first.rows[chosen], list(own))
        for (name, column), values in zip(own.items(), found, strict=True):
            made[name][start : start + BLOCK] = column.made(chosen, values)

    for _ in each(range(0, len(first), BLOCK), fill):
        pass
    return made


def plain(values: Any) -> np.ndarray:
    """Returns numbers as a record has them: little-endian, in the order of the axes."""
    array = np.asarray(values)
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")
