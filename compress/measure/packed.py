"""One file with a whole compressed model: its graph, and its weights as coded integers.

Source: Han, Mao & Dally 2016, Deep compression, arXiv:1510.00149, section 4, is the first of such
files. Differs: the weights are coded by an arithmetic coder that adapts, see `coder`.

The file, numbers little-endian:

    6 bytes     `KPACK3`
    8 bytes     length of all that follows the digest
    8 bytes     of the sha256 of it
    4 bytes     length of the header
    header      JSON, deflated without a frame, `header.txt` known beforehand: `model`, as Keras
                serialises it; `weights`, one entry for each of `model.weights`, in that order;
                `beside`, where weights stand in another file too: its `file`, seen from this one,
                and its `digest`
    streams     one behind the other, as long as the entries say

An entry has `shape`, `dtype`, and then what `weights` says; or `same`: the number of the weight in
the file beside that is equal bit for bit. A file of the second version, `KPACK2`, has all 32 bytes
of the digest, and a header in zlib's frame; one of the first, `KPACK1`, has neither length nor
digest.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compress.graph.limits import limited
from compress.measure.older import unfolded
from compress.measure.reading import built, graph_config
from compress.measure.weights import Known, Stream, decode, encode, known, num_bytes, size_of
from zoo.common.reading import one_line, unregistered
from zoo.common.staging import staged_file

MAGIC, SECOND, FIRST = b"KPACK3", b"KPACK2", b"KPACK1"
DIGEST_BYTES = {MAGIC: 8, SECOND: 32, FIRST: 0}
MOST_WEIGHTS = 1 << 26  # that a small file may declare, and beyond that ...
MOST_PER_BYTE = 4096  # ... for each of its bytes: nearly all are zero then
MOST_HEADER_BYTES = 1 << 28


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
    there: dict[Known, int] = {}
    if beside is not None:
        header["beside"], arrays = _neighbour(path, Path(beside))
        there = {known(array): index for index, array in enumerate(arrays)}
    entries, streams = [], []
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        if (same := there.get(known(array))) is not None:
            entry: dict[str, Any] = {"same": same}
        else:
            entry, own = encode(array, weight.path)
            streams += own
        entries.append({"shape": list(weight.shape), "dtype": weight.dtype, **entry})
    text = json.dumps({**header, "weights": entries}, separators=(",", ":"))
    fold = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, zdict=_beforehand())
    folded = fold.compress(text.encode()) + fold.flush()
    parts = [len(folded).to_bytes(4, "little"), folded, *streams]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    length = sum(map(len, parts)).to_bytes(8, "little")
    with staged_file(path) as partial, partial.open("wb") as file:
        file.writelines([MAGIC, length, digest.digest()[: DIGEST_BYTES[MAGIC]], *parts])
    return path.stat().st_size


def is_packed(path: str | Path) -> bool:
    """Returns whether a file that is there begins as one that `pack` wrote."""
    with Path(path).open("rb") as file:
        return file.read(len(MAGIC)) in DIGEST_BYTES


def unpack(path: str | Path) -> keras.Model:
    """Reads a model that `pack` wrote, not compiled.

    What a file declares is compared with what it can hold before anything is made of it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file, is damaged, or has layers whose module was not imported.
    """
    data = Path(path).read_bytes()
    if data[: len(MAGIC)] not in DIGEST_BYTES:
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
        if told := unregistered(error):
            raise ValueError(f"{path}: {told}") from error
        raise ValueError(
            f"{path}: is damaged ({one_line(error)}); pack the model again."
        ) from error


def _opened(data: bytes) -> tuple[dict[str, Any], Stream]:
    """The header of a file, and its streams."""
    stream = Stream(data, len(MAGIC))
    version = data[: len(MAGIC)]
    if size := DIGEST_BYTES[version]:
        length, digest = int.from_bytes(stream.take(8), "little"), stream.take(size)
        if stream.place + length != len(data):
            word = "shorter" if stream.place + length > len(data) else "longer"
            raise ValueError(f"it is {word} than its header says")
        if hashlib.sha256(memoryview(data)[stream.place :]).digest()[:size] != digest:
            raise ValueError("its digest is another")
    length = int.from_bytes(stream.take(4), "little")
    bare = {"wbits": -zlib.MAX_WBITS, "zdict": _beforehand()} if version == MAGIC else {}
    header = json.loads(unfolded(stream.take(length), MOST_HEADER_BYTES, **bare))
    return header, stream


@functools.cache
def _beforehand() -> bytes:
    """What headers have in common, so that it need not be written; part of the format."""
    return Path(__file__).with_name("header.txt").read_bytes()


def _declared(header: dict[str, Any], data: bytes) -> int:
    """How many weights a file declares, which is looked at before anything is made of it."""
    declared = sum(size_of(entry["shape"]) for entry in header["weights"])
    if declared > MOST_WEIGHTS + MOST_PER_BYTE * len(data):
        raise ValueError(f"it declares {declared:,} weights in {len(data):,} bytes")
    return declared


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
    return [decode(entry, stream) for entry in header["weights"]]


def _unpacked(header: dict[str, Any], stream: Stream, beside: list[np.ndarray]) -> keras.Model:
    with limited(_declared(header, stream.data)):
        model = built(header["model"])
    if not isinstance(model, keras.Model):
        raise ValueError(f"it holds a {type(model).__name__}")
    for weight, entry in zip(model.weights, header["weights"], strict=True):
        found = tuple(entry["shape"]), entry["dtype"]
        if found != (tuple(weight.shape), weight.dtype):
            raise ValueError(f"{weight.path} is declared as {found[1]} {found[0]}")
        weight.assign(beside[entry["same"]] if "same" in entry else decode(entry, stream))
    if stream.place != len(stream.data):
        raise ValueError("it is longer than its header says")
    return model


def weight_bytes(weight: keras.Variable) -> int:
    """Returns the bytes of a weight's streams in a packed file; its entry in the header is more."""
    return num_bytes(encode(keras.ops.convert_to_numpy(weight), weight.path))
