"""Entries of packed files of the first and second version: distances between weights, and codes.

Source: Han, Mao & Dally 2016, Deep compression, arXiv:1510.00149, sections 2 to 4. An entry has

    order       `C` or `F`: how the array is laid out on a line
    gaps        numbers of zeros before each weight that is not zero, coded; `null` without zeros.
                The number `longest` means so many zeros, and no weight behind them
    values      `book`: bytes of the deflated array of distinct values, then the numbers of the
                weights' values, coded. With `sizes` the filters, along the last axis, have books
                of their own of so many values each, one behind the other.
                Or `raw`: bytes of the deflated array of the weights that are not zero

and what is coded has `counts`, how often each symbol occurs, and `words`, the length of its stream
in units of 4 bytes.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np

LONGEST = (7, 15, 31, 63, 127, 255)  # gaps to choose from


def decode(entry: dict[str, Any], stream: Any) -> np.ndarray:
    """Returns the array of an entry; `stream` gives its bytes."""
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
    size = math.prod(shape)
    line = np.zeros(size, dtype)
    places = np.arange(size)
    if entry["gaps"] is not None:
        longest = entry["gaps"]["longest"]
        if longest not in LONGEST:
            raise ValueError(f"it declares gaps of {longest!r}")
        places = _places(_decoded(entry["gaps"], stream, size), longest)
        if places.size and places[-1] >= size:
            raise ValueError("a weight stands behind the last one")
    values = entry["values"]
    if "raw" in values:
        line[places] = inflate(stream.take(values["raw"]), dtype, places.size)
    else:
        book = inflate(stream.take(values["book"]), dtype, size)
        codes = _decoded(values, stream, size)
        if "sizes" in values:
            sizes = np.asarray(values["sizes"])
            filters = (
                places % sizes.size if entry["order"] == "C" else places // (size // sizes.size)
            )
            codes = codes + (np.cumsum(sizes) - sizes)[filters]
        line[places] = book[codes]
    return line.reshape(shape, order=entry["order"])


def _places(gaps: np.ndarray, longest: int) -> np.ndarray:
    weights = gaps < longest
    found: np.ndarray = (np.cumsum(gaps + weights) - 1)[weights]
    return found


def _decoded(entry: dict[str, Any], stream: Any, most: int) -> np.ndarray:
    """At most so many numbers."""
    import constriction

    if not all(type(count) is int and 0 <= count <= most for count in entry["counts"]):
        raise ValueError(f"it declares counts that are none, or more than {most:,}")
    counts = np.asarray(entry["counts"], dtype=np.int64)
    if not 0 < counts.sum() <= most:
        raise ValueError(f"it declares {counts.sum():,} numbers; expected 1 to {most:,}")
    words = np.frombuffer(stream.take(4 * entry["words"]), "<u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    shares = counts / max(1, counts.sum())
    model = constriction.stream.model.Categorical(shares, perfect=False)
    found: np.ndarray = decoder.decode(model, int(counts.sum()))
    return found


def unfolded(data: bytes, most: int, **settings: Any) -> bytes:
    """Returns at most so many bytes of a deflated stream; `settings` are those of zlib.

    Raises:
        ValueError: There are more, or it ends early.
    """
    stream = zlib.decompressobj(**settings)
    found = stream.decompress(data, most + 1)
    if len(found) > most or not stream.eof:
        raise ValueError(f"a part of it unfolds to more than {most:,} bytes, or ends early")
    return found


def inflate(data: bytes, dtype: np.dtype, most: int) -> np.ndarray:
    """Returns a deflated array of at most so many numbers."""
    content = unfolded(data, most * dtype.itemsize)
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype.newbyteorder("<")).reshape(-1).astype(dtype)
