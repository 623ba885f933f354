"""One weight of a packed file: an entry of its header, and streams.

What an array holds is read off its values: multiples of one step, a few values that many share,
zeros. It becomes integers, 0 where the weight is, which `coder` codes; whatever takes the fewest
bytes is written. An entry has, beside shape and type, either

    raw     bytes of a deflated array, its bytes ordered by significance
    or
    code    bytes of the coded integers, `turned` if their matrix is, with a `lag` if it helps;
            and what these stand for:
            step    they are times this number, in float32
            steps   bytes of so many deflated numbers as `grids` says: each column of the array, as
                    a matrix of that many, is times its own
            book    bytes of the deflated values, sorted: they are ranks, below 0 for those that
                    are. With `sizes` the filters, along the last axis, have books of their own of
                    so many values each, one behind the other
            kept    bytes of a deflated array, of the weights where they are 1

`older` reads the entries of the second version.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from compress.measure import older
from compress.measure.coder import MOST_BITS, decoded, encoded, matrix_shape

Coded: TypeAlias = tuple[dict[str, Any], list[bytes]]  # an entry and its streams
Known: TypeAlias = tuple[bytes, str, tuple[int, ...]]  # a digest of the content, a type, a shape
MOST_VALUES = 1 << 16  # of a code book
STEP_BITS = 9  # of a short step's mantissa: products with integers of 15 bits are exact
MOST_PARTS = 127  # of the smallest weight: it is at most so many steps
TOPS = (127, 7)  # the last integers of symmetric grids
LOOK = 8  # columns looked at before all are
MOST_HELD_BYTES = 1 << 28  # of streams that are kept: the report asks for what the file holds
SMALL = 1 << 21  # weights up to which every layout is tried
SIDE_BYTES = 12  # of an entry in the header that says one thing more
_CODED: dict[Known, Coded] = {}  # by what a weight holds


class Stream:
    """Bytes that are taken one part after another."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place

    def take(self, count: int) -> bytes:
        """Returns the next bytes.

        Raises:
            ValueError, EOFError: There are not so many.
        """
        if type(count) is not int or count < 0:
            raise ValueError(f"it declares a length of {count!r}")
        part = self.data[self.place : self.place + count]
        if len(part) < count:
            raise EOFError("it ends early")
        self.place += count
        return part


def known(array: np.ndarray) -> Known:
    """Returns what tells whether two arrays are equal bit for bit."""
    digest = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=20).digest()
    return digest, array.dtype.str, array.shape


def encode(array: np.ndarray, name: str) -> Coded:
    """Returns the entry of a weight, without its shape and type, and its streams.

    A weight that was coded before, by any caller, is not coded again.

    Raises:
        ValueError: It is not finite.
    """
    key = known(array)
    if (found := _CODED.get(key)) is None:
        found = _CODED[key] = _coded(array, name)
        held = sum(num_bytes(one) for one in _CODED.values())
        for oldest in list(_CODED):
            if held <= MOST_HELD_BYTES:
                break
            held -= num_bytes(_CODED.pop(oldest))
    return found


def num_bytes(coded: Coded) -> int:
    """Returns the bytes of a weight's streams."""
    return sum(map(len, coded[1]))


def decode(entry: dict[str, Any], stream: Stream) -> np.ndarray:
    """Returns the array of an entry.

    Raises:
        ValueError, EOFError, KeyError: It is no such entry.
    """
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
    if "gaps" in entry:
        return older.decode(entry, stream)
    if "raw" in entry:
        data = stream.take(entry["raw"])
        return older.inflate(data, dtype, size_of(shape)).reshape(shape)
    code = stream.take(entry["code"])
    sides = matrix_shape(shape)
    turned, lag = bool(entry.get("turned")), entry.get("lag", 0)
    if type(lag) is not int or lag < 0:
        raise ValueError(f"it declares a lag of {lag!r}")
    places = decoded(code, sides[::-1] if turned else sides, lag)
    places = (places.T if turned else places).reshape(shape)
    if "step" in entry:
        return _stepped(places, np.float32(entry["step"]))
    if "steps" in entry:
        count = size_of([entry["grids"]])
        steps = older.inflate(stream.take(entry["steps"]), dtype, count)
        return _stepped(places.reshape(-1, count), steps).reshape(shape)
    if "kept" in entry:
        values = older.inflate(stream.take(entry["kept"]), dtype, places.size)
        array = np.zeros(shape, dtype)
        array[places != 0] = values
        return array
    book = older.inflate(stream.take(entry["book"]), dtype, places.size)
    sizes = entry.get("sizes", [book.size])
    books = np.split(book, np.cumsum(sizes)[:-1])
    parts = zip(books, _parts(places, len(books)), strict=True)
    return _whole([_looked_up(values, part) for values, part in parts], shape)


def size_of(shape: Any) -> int:
    """Returns the numbers of a shape that a file declares.

    Raises:
        ValueError: It is none.
    """
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"it declares the shape {shape}")
    return math.prod(shape)


def _coded(array: np.ndarray, name: str) -> Coded:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name}: holds values that are not finite.")
    raw = deflate(array)
    choices: list[Coded] = [({"raw": len(raw)}, [raw])]
    # A zero with a sign is not what an integer gives back.
    if array.dtype == np.float32 and array.size and not np.signbit(array[array == 0]).any():
        for places, said, streams in _integers(array):
            layout, code = _laid_out(places)
            choices.append(({"code": len(code), **layout, **said}, [code, *streams]))
    return min(choices, key=lambda one: num_bytes(one) + SIDE_BYTES * len(one[0]))


def _integers(array: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, Any], list[bytes]]]:
    """What an array may be read as: integers, what is said of them, and what they stand for."""
    kept = array != 0
    if not kept.any():
        yield np.zeros(array.shape, np.int64), {"step": 1.0}, []
        return
    distinct = np.unique(array[kept])
    step = _step(distinct)
    if step is not None:
        yield _places(array, step).astype(np.int64), {"step": float(str(step))}, []
    elif (steps := _steps(array)) is not None:
        places = _places(array.reshape(-1, steps.size), steps).astype(np.int64)
        data = deflate(steps)
        yield places.reshape(array.shape), {"steps": len(data), "grids": steps.size}, [data]
    elif books := _books(array, kept, distinct):
        parts = zip(books, _parts(array, len(books)), strict=True)
        places = _whole([_ranks(values, part) for values, part in parts], array.shape)
        book = deflate(np.concatenate(books))
        sizes = {"sizes": [values.size for values in books]} if len(books) > 1 else {}
        yield places, {"book": len(book), **sizes}, [book]
    elif kept.sum() < array.size // 2:
        data = deflate(array[kept])
        yield kept.astype(np.int64), {"kept": len(data)}, [data]


def short(step: float) -> float:
    """Returns the nearest number of a few bits, so that its multiples are exact in float32."""
    mantissa, exponent = math.frexp(step)
    return math.ldexp(round(mantissa * 2**STEP_BITS), exponent - STEP_BITS)


def step_of(array: np.ndarray) -> float | None:
    """Returns the largest step that all values are multiples of, bit for bit; `None` without one.

    Args:
        array: Float32, of any shape.
    """
    kept = array[array != 0]
    step = _step(np.unique(kept)) if kept.size else None
    return None if step is None else float(step)


def _step(distinct: np.ndarray) -> np.float32 | None:
    least = abs(distinct).min()
    if distinct.size > MOST_VALUES or abs(distinct).max() >= least * 2.0 ** (MOST_BITS - 8):
        return None
    for part in range(1, MOST_PARTS + 1):
        step = np.float32(least / np.float32(part))
        if step and all(_is_on(some, step) for some in (distinct[:8], distinct)):
            return step
    return None


def _steps(array: np.ndarray) -> np.ndarray | None:
    """The steps of grids of 8 or 4 bits, whose largest weight is the last integer.

    One for the whole, or one for each filter, along the last axis or the last two.
    """
    ends = [math.prod(array.shape[array.ndim - axes :]) for axes in range(min(array.ndim, 3))]
    for count in ends:
        flat = array.reshape(-1, count)
        if flat.shape[0] < 2:
            continue
        for top in TOPS:
            if _on_steps(flat[:, :LOOK], top) is None:
                continue
            steps = _on_steps(flat, top)
            if steps is not None:
                return steps
    return None


def _on_steps(flat: np.ndarray, top: int) -> np.ndarray | None:
    """The step of each column; `None` where one has none."""
    most = abs(flat).max(0)
    near = np.where(most == 0, 1, most / np.float32(top)).astype(np.float32)
    found = np.zeros_like(near)
    for step in (near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))):
        left = found == 0
        exact = (_stepped(_places(flat, step), step) == flat).all(0)
        found = np.where(left & exact, step, found)
    return found if found.all() else None


def _is_on(values: np.ndarray, step: np.float32) -> bool:
    return np.array_equal(_stepped(_places(values, step), step), values)


def _places(values: np.ndarray, step: Any) -> np.ndarray:
    found: np.ndarray = np.rint(values.astype(float) / np.asarray(step, float))
    return found


def _stepped(places: np.ndarray, step: Any) -> np.ndarray:
    found: np.ndarray = places.astype(np.float32) * step
    return found


def _books(array: np.ndarray, kept: np.ndarray, distinct: np.ndarray) -> list[np.ndarray]:
    """The distinct values of all weights, or of each filter's; nothing where neither are few."""
    most = min(MOST_VALUES, array.size // 4)
    choices = [[distinct]] if distinct.size <= most else []
    if array.ndim > 1 and array.shape[-1] > 1:
        parts = _parts(array, array.shape[-1])
        books = [np.unique(part[part != 0]) for part in parts]
        if sum(values.size for values in books) <= most:
            choices.append(books)

    def expected(books: list[np.ndarray]) -> float:
        pairs = zip(books, _parts(array, len(books)), strict=True)
        ranks = _whole([_ranks(values, part) for values, part in pairs], array.shape)[kept]
        counts = np.unique(ranks, return_counts=True)[1]
        bits = -(counts * np.log2(counts / counts.sum())).sum()
        return float(bits / 8 + array.itemsize * sum(values.size for values in books))

    return min(choices, key=expected) if choices else []


def _ranks(values: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The places of weights among sorted values, counted from 0 both ways; of zeros 0."""
    minus = int((values < 0).sum())
    places = np.searchsorted(values, part) - minus
    return np.where(part == 0, 0, places + (places >= 0))


def _looked_up(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The inverse of `_ranks`."""
    minus = int((values < 0).sum())
    if ranks.size and not -minus <= ranks.min() <= ranks.max() <= values.size - minus:
        raise ValueError("a weight has no value in its book")
    return np.concatenate([values[:minus], np.zeros(1, values.dtype), values[minus:]])[
        ranks + minus
    ]


def _parts(array: np.ndarray, count: int) -> list[np.ndarray]:
    """The filters of a kernel, or the whole of it."""
    return list(np.moveaxis(array, -1, 0)) if count > 1 else [array]


def _whole(parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `_parts`."""
    joined = np.moveaxis(np.stack(parts), 0, -1) if len(parts) > 1 else parts[0]
    return joined.reshape(shape)


def _laid_out(places: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """What is said of the matrix of an array, and its code: of all that are tried, the shortest."""
    matrix = places.reshape(matrix_shape(places.shape))
    choices: list[tuple[dict[str, Any], bytes]] = [({}, encoded(matrix))]
    if min(matrix.shape) > 1:
        small = places.size <= SMALL
        if small or matrix.shape[0] > 16 * matrix.shape[1]:
            choices.append(({"turned": True}, encoded(matrix.T)))
        if small:
            lags = _lags(matrix, places.shape)
            choices += [({"lag": lag}, encoded(matrix, lag)) for lag in lags]
    return min(choices, key=lambda one: len(one[1]) + SIDE_BYTES * len(one[0]))


def _lags(matrix: np.ndarray, shape: Sequence[int]) -> list[int]:
    """Distances of rows that may resemble one another."""
    kept = (matrix != 0).astype(np.float32)
    most = min(64, len(matrix) - 1)
    alike = [float((kept[lag:] * kept[:-lag]).sum()) for lag in range(2, most + 1)]
    found = {int(np.argmax(alike)) + 2} if alike else set()
    if len(shape) == 4:  # the next place of a convolution's window, and the next row of that
        found |= {shape[2], shape[2] * shape[1]}
    return sorted(lag for lag in found if 1 < lag < len(matrix))


def deflate(array: np.ndarray) -> bytes:
    """Deflates an array, its most significant bytes together: they resemble one another."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    planes = little.view(np.uint8).reshape(little.size, -1).T
    return zlib.compress(planes.tobytes(), 6)
