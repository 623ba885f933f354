"""One file with a whole compressed model: its graph, and its weights sparse, shared, entropy-coded.

Source: Han, Mao & Dally 2016, Deep compression, arXiv:1510.00149, sections 2 to 4: the distance to
the next weight that is not zero, a code book, and short codes for what is frequent. Differs: the
codes are those of a range coder (the package `constriction`), which come within a thousandth of the
entropy where Huffman's take whole bits. The weights that are read back are equal bit for bit.

The file, numbers little-endian:

    6 bytes     `KPACK2`
    8 bytes     length of all that follows the digest
    32 bytes    sha256 of it; a file of the first version, `KPACK1`, has neither
    4 bytes     length of the header
    header      JSON, deflated: `model`, as Keras serialises it; `weights`, one entry for each of
                `model.weights`, in that order; `beside`, where weights stand in another file too:
                its `file`, seen from this one, and its `digest`
    streams     one behind the other, as long as the entries say

An entry has `shape`, `dtype`, and then either

    same        the number of the weight in the file beside that is equal bit for bit
    or
    raw         bytes of a deflated array, its bytes ordered by significance
    or
    order       `C` or `F`: how the array is laid out on a line
    gaps        numbers of zeros before each weight that is not zero, coded; `null` without zeros.
                The number `longest` means so many zeros, and no weight behind them
    values      `book`: bytes of the deflated array of distinct values, then the numbers of the
                weights' values, coded. With `sizes` the filters, along the last axis, have books
                of their own of so many values each, one behind the other.
                Or `raw`: as above, of the weights that are not zero

and what is coded has `counts`, how often each symbol occurs, and `words`, the length of its stream
in units of 4 bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from compress.graph.limits import limited
from compress.measure.reading import built, graph_config
from zoo.common.reading import one_line
from zoo.common.staging import staged_file

Order: TypeAlias = Literal["C", "F"]
Coded: TypeAlias = tuple[dict[str, Any], list[bytes]]  # an entry and its streams
MAGIC, FIRST = b"KPACK2", b"KPACK1"
DIGEST_BYTES = 32
MOST_WEIGHTS = 1 << 26  # that a small file may declare, and beyond that ...
MOST_PER_BYTE = 4096  # ... for each of its bytes: nearly all are zero then
MOST_HEADER_BYTES = 1 << 28
ORDERS: tuple[Order, Order] = ("C", "F")
LONGEST = (7, 15, 31, 63, 127, 255)  # gaps to choose from
MOST_VALUES = 1 << 16  # of a code book
MOST_HELD_BYTES = 1 << 28  # of streams that are kept: the report asks for what the file holds
SIDE_BYTES = 1.2  # what a count costs in the header, about: chooses between alphabets

_Known: TypeAlias = tuple[bytes, str, tuple[int, ...]]  # a digest of the content, a type, a shape
_CODED: dict[_Known, Coded] = {}  # by what a weight holds


def pack(model: keras.Model, path: str | Path, *, beside: str | Path | None = None) -> int:
    """Writes a model to one file; returns its bytes. How it was compiled is left out.

    Args:
        model: Functional or Sequential.
        path: The file; what was there is replaced once the new one is whole.
        beside: Another packed file, whose weights are not written again; the two are moved
            together from then on. In the same directory or the one above.

    Raises:
        OSError: It cannot be written, or another process writes it.
        ValueError: A weight is not finite, or a layer could not be read back.
    """
    path = Path(path)
    header: dict[str, Any] = {"model": graph_config(model)}
    known: dict[_Known, int] = {}
    if beside is not None:
        header["beside"], arrays = _neighbour(path, Path(beside))
        known = {_known(array): index for index, array in enumerate(arrays)}
    entries, streams = [], []
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        if (same := known.get(_known(array))) is not None:
            entry: dict[str, Any] = {"same": same}
        else:
            entry, own = _encode(array, weight.path)
            streams += own
        entries.append({"shape": list(weight.shape), "dtype": weight.dtype, **entry})
    text = json.dumps({**header, "weights": entries}, separators=(",", ":"))
    folded = zlib.compress(text.encode(), 9)
    parts = [len(folded).to_bytes(4, "little"), folded, *streams]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    length = sum(map(len, parts)).to_bytes(8, "little")
    with staged_file(path) as partial, partial.open("wb") as file:
        file.writelines([MAGIC, length, digest.digest(), *parts])
    return path.stat().st_size


def is_packed(path: str | Path) -> bool:
    """Returns whether a file that is there begins as one that `pack` wrote."""
    with Path(path).open("rb") as file:
        return file.read(len(MAGIC)) in (MAGIC, FIRST)


def unpack(path: str | Path) -> keras.Model:
    """Reads a model that `pack` wrote, not compiled.

    What a file declares is compared with what it can hold before anything is made of it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file, or is damaged.
    """
    data = Path(path).read_bytes()
    if data[:6] not in (MAGIC, FIRST):
        raise ValueError(f"{path}: not a packed model; expected a file that `compress.pack` wrote.")
    with _whole_or_told(path):
        header, stream = _opened(data)
        arrays = _beside(Path(path), header)
        return _unpacked(header, stream, arrays)


@contextlib.contextmanager
def _whole_or_told(path: str | Path) -> Iterator[None]:
    """Tells of whatever a damaged file makes its reader raise in one line."""
    try:
        yield
    except BaseException as error:
        # The range coder, written in Rust, panics on some codes, which is no `Exception`.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(
            f"{path}: is damaged ({one_line(error)}); pack the model again."
        ) from error


def _opened(data: bytes) -> tuple[dict[str, Any], _Stream]:
    """The header of a file, and its streams."""
    stream = _Stream(data, len(MAGIC))
    if data.startswith(MAGIC):
        length, digest = int.from_bytes(stream.take(8), "little"), stream.take(DIGEST_BYTES)
        if stream.place + length != len(data):
            word = "shorter" if stream.place + length > len(data) else "longer"
            raise ValueError(f"it is {word} than its header says")
        if hashlib.sha256(memoryview(data)[stream.place :]).digest() != digest:
            raise ValueError("its digest is another")
    length = int.from_bytes(stream.take(4), "little")
    header = json.loads(_unfolded(stream.take(length), MOST_HEADER_BYTES))
    return header, stream


def _declared(header: dict[str, Any], data: bytes) -> int:
    """How many weights a file declares, which is looked at before anything is made of it."""
    declared = sum(_size(entry["shape"]) for entry in header["weights"])
    if declared > MOST_WEIGHTS + MOST_PER_BYTE * len(data):
        raise ValueError(f"it declares {declared:,} weights in {len(data):,} bytes")
    return declared


def _known(array: np.ndarray) -> _Known:
    """What tells whether two arrays are equal bit for bit."""
    digest = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=20).digest()
    return digest, array.dtype.str, array.shape


def _neighbour(path: Path, other: Path) -> tuple[dict[str, str], list[np.ndarray]]:
    """What a header says of the file beside, and the arrays of that one."""
    here, there = path.resolve().parent, other.resolve().parent
    if there not in (here, here.parent):
        raise ValueError(f"{other}: stands elsewhere; expected it in {here} or the one above.")
    name = other.name if there == here else f"../{other.name}"
    data = other.read_bytes()
    return {"file": name, "digest": hashlib.sha256(data).hexdigest()}, _arrays(data)


def _beside(path: Path, header: dict[str, Any]) -> list[np.ndarray]:
    """The arrays of the file that stands beside one; none, where it needs none."""
    if "beside" not in header:
        return []
    name, digest = header["beside"]["file"], header["beside"]["digest"]
    if not re.fullmatch(r"(\.\./)?[\w.-]+", name):
        raise ValueError(f"it names a file {name!r} beside it")
    data = (path.parent / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{name}, whose weights it shares, is another")
    return _arrays(data)


def _arrays(data: bytes) -> list[np.ndarray]:
    """The weights of a packed file that has all of its own."""
    header, stream = _opened(data)
    _declared(header, data)
    return [_decode(entry, stream) for entry in header["weights"]]


def _unpacked(header: dict[str, Any], stream: _Stream, beside: list[np.ndarray]) -> keras.Model:
    with limited(_declared(header, stream.data)):
        model = built(header["model"])
    if not isinstance(model, keras.Model):
        raise ValueError(f"it holds a {type(model).__name__}")
    for weight, entry in zip(model.weights, header["weights"], strict=True):
        found = tuple(entry["shape"]), entry["dtype"]
        if found != (tuple(weight.shape), weight.dtype):
            raise ValueError(f"{weight.path} is declared as {found[1]} {found[0]}")
        weight.assign(beside[entry["same"]] if "same" in entry else _decode(entry, stream))
    if stream.place != len(stream.data):
        raise ValueError("it is longer than its header says")
    return model


def _size(shape: Any) -> int:
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"it declares the shape {shape}")
    return math.prod(shape)


def weight_bytes(weight: keras.Variable) -> int:
    """Returns the bytes of a weight's streams in a packed file; its entry in the header is more."""
    return _num_bytes(_encode(keras.ops.convert_to_numpy(weight), weight.path))


class _Stream:
    """Bytes that are taken one part after another."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place

    def take(self, count: int) -> bytes:
        if type(count) is not int or count < 0:
            raise ValueError(f"it declares a length of {count!r}")
        part = self.data[self.place : self.place + count]
        if len(part) < count:
            raise EOFError("it ends early")
        self.place += count
        return part


def _encode(array: np.ndarray, name: str) -> Coded:
    """As `_coded`; a weight that was coded before, by any caller, is not coded again."""
    key = _known(array)
    if (found := _CODED.get(key)) is None:
        found = _CODED[key] = _coded(array, name)
        held = sum(_num_bytes(one) for one in _CODED.values())
        for oldest in list(_CODED):
            if held <= MOST_HELD_BYTES:
                break
            held -= _num_bytes(_CODED.pop(oldest))
    return found


def _num_bytes(coded: Coded) -> int:
    return sum(map(len, coded[1]))


def _coded(array: np.ndarray, name: str) -> Coded:
    """The entry of a weight, without its shape and type, and its streams."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name}: holds values that are not finite.")
    kept = array != 0
    books = _books(array, kept)
    sparse = books or kept.sum() < array.size // 2
    # A zero with a sign is not what a gap gives back.
    if array.dtype != np.float32 or not sparse or not kept.any() or np.signbit(array[~kept]).any():
        data = _deflate(array)
        return {"raw": len(data)}, [data]
    order, longest, gaps = _lay_out(kept)
    line = array.ravel(order)
    entry: dict[str, Any] = {"order": order, "gaps": None}
    streams = []
    if gaps is not None:
        numbers, stream = _code(gaps)
        entry["gaps"] = {"longest": longest, **numbers}
        streams.append(stream)
    if books:
        book = _deflate(np.concatenate(books))
        codes = [
            np.searchsorted(values, part)
            for values, part in zip(books, _parts(array, len(books)), strict=True)
        ]
        numbers, stream = _code(_whole(codes, array.shape).ravel(order)[line != 0])
        sizes = {"sizes": [values.size for values in books]} if len(books) > 1 else {}
        entry["values"] = {"book": len(book), **sizes, **numbers}
        streams += [book, stream]
    else:
        data = _deflate(line[line != 0])
        entry["values"] = {"raw": len(data)}
        streams.append(data)
    return entry, streams


def _decode(entry: dict[str, Any], stream: _Stream) -> np.ndarray:
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
    size = _size(shape)
    if "raw" in entry:
        return _inflate(stream.take(entry["raw"]), dtype, size).reshape(shape)
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
        line[places] = _inflate(stream.take(values["raw"]), dtype, places.size)
    else:
        book = _inflate(stream.take(values["book"]), dtype, size)
        codes = _decoded(values, stream, size)
        if "sizes" in values:
            sizes = np.asarray(values["sizes"])
            filters = (
                places % sizes.size if entry["order"] == "C" else places // (size // sizes.size)
            )
            codes = codes + (np.cumsum(sizes) - sizes)[filters]
        line[places] = book[codes]
    return line.reshape(shape, order=entry["order"])


def _books(array: np.ndarray, kept: np.ndarray) -> list[np.ndarray]:
    """The distinct values of all weights, or of each filter's; nothing where neither are few."""
    most = min(MOST_VALUES, array.size // 4)
    choices = []
    for count in (1, *array.shape[-1:])[: array.ndim]:
        parts = _parts(array, count)
        books = [np.unique(part[part != 0]) for part in parts]
        size = sum(values.size for values in books)
        if size <= most:
            codes = [
                np.searchsorted(values, part) for values, part in zip(books, parts, strict=True)
            ]
            numbers = _whole(codes, array.shape)[kept]
            choices.append((_expected_bytes(numbers) + size * array.itemsize, books))
    return min(choices, key=lambda choice: choice[0])[1] if choices else []


def _parts(array: np.ndarray, count: int) -> list[np.ndarray]:
    """The filters of a kernel, or the whole of it."""
    return list(np.moveaxis(array, -1, 0)) if count > 1 else [array]


def _whole(parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `_parts`."""
    joined = np.moveaxis(np.stack(parts), 0, -1) if len(parts) > 1 else parts[0]
    return joined.reshape(shape)


def _lay_out(kept: np.ndarray) -> tuple[Order, int, np.ndarray | None]:
    """The order of the axes, the longest gap, and the gaps, that take the fewest bytes."""
    if kept.all():
        return "C", 0, None
    choices = [
        (order, longest, _gaps(np.flatnonzero(kept.ravel(order)), longest))
        for order in ORDERS[: min(kept.ndim, 2)]
        for longest in LONGEST
    ]
    return min(choices, key=lambda choice: _expected_bytes(choice[2]))


def _gaps(places: np.ndarray, longest: int) -> np.ndarray:
    """Numbers of zeros before each place; `longest` stands for so many zeros and no weight."""
    gaps = np.diff(places, prepend=-1) - 1
    fillers, rest = np.divmod(gaps, longest)
    found = np.full(int(fillers.sum()) + gaps.size, longest)
    found[np.cumsum(fillers + 1) - 1] = rest
    return found


def _places(gaps: np.ndarray, longest: int) -> np.ndarray:
    """The inverse of `_gaps`."""
    weights = gaps < longest
    found: np.ndarray = (np.cumsum(gaps + weights) - 1)[weights]
    return found


def _expected_bytes(numbers: np.ndarray) -> float:
    counts = np.bincount(numbers)
    share = counts[counts > 0] / max(1, numbers.size)
    return float(-(share * np.log2(share)).sum() * numbers.size / 8 + SIDE_BYTES * counts.size)


def _code(numbers: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """Codes numbers from 0 on by how often each occurs."""
    import constriction

    counts = np.bincount(numbers, minlength=2)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(numbers.astype(np.int32), _model(counts))
    words = encoder.get_compressed()
    return {"counts": counts.tolist(), "words": len(words)}, words.astype("<u4").tobytes()


def _decoded(entry: dict[str, Any], stream: _Stream, most: int) -> np.ndarray:
    """At most so many numbers."""
    import constriction

    if not all(type(count) is int and 0 <= count <= most for count in entry["counts"]):
        raise ValueError(f"it declares counts that are none, or more than {most:,}")
    counts = np.asarray(entry["counts"], dtype=np.int64)
    if not 0 < counts.sum() <= most:
        raise ValueError(f"it declares {counts.sum():,} numbers; expected 1 to {most:,}")
    words = np.frombuffer(stream.take(4 * entry["words"]), "<u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    found: np.ndarray = decoder.decode(_model(counts), int(counts.sum()))
    return found


def _model(counts: np.ndarray) -> Any:
    import constriction

    return constriction.stream.model.Categorical(counts / max(1, counts.sum()), perfect=False)


def _deflate(array: np.ndarray) -> bytes:
    """Deflates an array, its most significant bytes together: they resemble one another."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    planes = little.view(np.uint8).reshape(little.size, -1).T
    return zlib.compress(planes.tobytes(), 6)


def _unfolded(data: bytes, most: int) -> bytes:
    """At most so many bytes of a deflated stream."""
    stream = zlib.decompressobj()
    found = stream.decompress(data, most + 1)
    if len(found) > most or not stream.eof:
        raise ValueError(f"a part of it unfolds to more than {most:,} bytes, or ends early")
    return found


def _inflate(data: bytes, dtype: np.dtype, most: int) -> np.ndarray:
    """An array of at most so many numbers."""
    content = _unfolded(data, most * dtype.itemsize)
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype.newbyteorder("<")).reshape(-1).astype(dtype)
