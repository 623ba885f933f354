"""Reads the tensors of a torch file with NumPy alone, and runs nothing that the file names.

A torch file is a pickle, and a pickle can call any function. Here it may name three things: an
`OrderedDict`, the rebuilding of a tensor, and the type of a storage; whatever else it names is
refused. A rebuilt tensor is a record of numbers until the whole pickle is read; then each offset,
size and stride is checked against the storage before an array is made.

Both formats of `torch.save` are read: the zip archive (torch 1.6 and later), and the older chain of
pickles with the raw storages behind them.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.common.reading import one_line

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format
MEMOS = ("PUT", "BINPUT", "LONG_BINPUT")
MEMO_LIMIT = 10**6  # places; Python reserves as many as the largest index asks for
BFLOAT16 = "BFloat16Storage"
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    BFLOAT16: "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
    "ComplexDoubleStorage": "<c16",
    "ComplexFloatStorage": "<c8",
}


class _Storage(NamedTuple):
    kind: str
    key: str
    length: int


class _Tensor(NamedTuple):
    """What a pickle says of a tensor; nothing of it is checked yet."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict: names to tensors, of any shape and in the file's order.

    bfloat16, which NumPy lacks, becomes float32 of the same values.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, is no state dict, or names anything but tensors.
    """
    content = Path(path).read_bytes()
    try:
        state, values = (_zip if content[:4] == b"PK\x03\x04" else _chain)(content)
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"got {type(state).__name__}; expected names to tensors")
        # `dict.items`, because a pickle may hang an attribute `items` on an OrderedDict.
        return {_name(key): _array(tensor, values) for key, tensor in dict.items(state)}
    except Exception as error:  # pickle, zipfile and NumPy raise many kinds
        raise ValueError(
            f"{path}: not a file of plain torch tensors ({one_line(error)})."
        ) from None


def _rebuild(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    """Stands in for torch's function; behind the stride come gradients, which are not kept."""
    return _Tensor(storage, offset, size, stride)


class _Unpickler(pickle.Unpickler):
    """An unpickler for tensors.

    Args:
        file: The pickle.
        storage: Takes a storage's identifier (the tuple behind the word `storage`); `None` where
            there are none.
    """

    def __init__(
        self, file: io.BytesIO, storage: Callable[[tuple[Any, ...]], _Storage] | None = None
    ):
        super().__init__(file)
        self._file, self._storage = file, storage

    def load(self) -> Any:
        """Returns the object, after a look for a memo that would fill the memory."""
        start = self._file.tell()
        for opcode, index, _ in pickletools.genops(self._file):
            if opcode.name in MEMOS and int(index or 0) > MEMO_LIMIT:
                raise pickle.UnpicklingError(f"it asks for a memo of {index:,} places")
        self._file.seek(start)
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a pickle may name; a storage's type is plain text, which calls nothing."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is refused")

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that a tensor lies in."""
        if self._storage is None or not isinstance(pid, tuple) or pid[:1] != ("storage",):
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        return self._storage(pid[1:])


class _Storages:
    """The storages that a pickle refers to, by key."""

    def __init__(self) -> None:
        self.found: dict[str, _Storage] = {}

    def __call__(self, pid: tuple[Any, ...]) -> _Storage:
        """Notes a storage: (type, key, device, length) and perhaps a view of another, refused."""
        kind, key, _, length, *view = pid
        if kind not in DTYPES or type(key) is not str or type(length) is not int or length < 0:
            raise pickle.UnpicklingError(f"unknown storage {pid!r}")
        if any(part is not None for part in view):
            raise pickle.UnpicklingError("a storage that is a view of another is not supported")
        storage = _Storage(kind, key, length)
        if self.found.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError(f"two storages are called {key!r}")
        return storage


def _zip(content: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Reads the newer format: returns the unpickled object and each storage's values."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:

        def member(name: str) -> bytes:
            info = archive.getinfo(name)
            if info.compress_type != zipfile.ZIP_STORED:  # a small file could unpack to any size
                raise pickle.UnpicklingError(f"{name} is compressed, which torch does not do")
            return archive.read(info)  # checks the CRC

        names = archive.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise pickle.UnpicklingError(f"it holds {len(pickles)} data.pkl; expected one")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and member(f"{root}byteorder") != b"little":
            raise pickle.UnpicklingError("its bytes are in big-endian order")
        storages = _Storages()
        state = _Unpickler(io.BytesIO(member(pickles[0])), storages).load()
        values = {}
        for storage in storages.found.values():
            raw = member(f"{root}data/{storage.key}")
            values[storage.key] = _values(storage, raw, 0, len(raw))
    return state, values


def _chain(content: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Reads the older format: see `_zip`."""
    file = io.BytesIO(content)
    magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL:
        raise pickle.UnpicklingError("it has neither of torch's two formats")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise pickle.UnpicklingError("its bytes are in big-endian order")
    storages = _Storages()
    state = _Unpickler(file, storages).load()
    keys = _Unpickler(file).load()
    if not isinstance(keys, list) or sorted(keys) != sorted(storages.found):
        raise pickle.UnpicklingError("its list of storages is not that of its tensors")
    values = {}
    for key in keys:
        storage = storages.found[key]
        length = int.from_bytes(file.read(8), "little")
        if length != storage.length:
            raise pickle.UnpicklingError(f"storage {key} has {length} values, not {storage.length}")
        start = file.tell()
        end = start + length * np.dtype(DTYPES[storage.kind]).itemsize
        values[key] = _values(storage, content, start, min(end, len(content)))
        file.seek(end)
    return state, values


def _values(storage: _Storage, content: bytes, start: int, end: int) -> np.ndarray:
    """Returns all values of a storage, (length,), without a copy."""
    dtype = np.dtype(DTYPES[storage.kind])
    if end - start != storage.length * dtype.itemsize:
        raise pickle.UnpicklingError(
            f"storage {storage.key} has {end - start} bytes; expected "
            f"{storage.length * dtype.itemsize}"
        )
    return np.frombuffer(content, dtype, storage.length, start)


def _name(key: Any) -> str:
    if type(key) is not str:
        raise pickle.UnpicklingError(f"got the name {key!r}; expected text")
    return key


def _array(tensor: Any, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Makes a tensor's array, after checking that all of it lies within its storage."""
    if not isinstance(tensor, _Tensor) or not isinstance(tensor.storage, _Storage):
        raise pickle.UnpicklingError(f"got {type(tensor).__name__}; expected a tensor")
    source = values[tensor.storage.key]
    offset, size, stride = tensor.offset, tensor.size, tensor.stride
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError(f"a tensor of size {size}, stride {stride} at {offset}")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # A stride of 0 could blow a single value up to any size.
    if count and (last >= len(source) or count > len(source)):
        raise pickle.UnpicklingError(
            f"a tensor of size {size}, stride {stride} at {offset} leaves its storage of "
            f"{len(source)}"
        )
    if not count:
        array = np.zeros(size, source.dtype)
    else:
        steps = [step * source.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(source[offset:], size, steps, writeable=False)
        array = np.array(view, order="C")
    if tensor.storage.kind == BFLOAT16:  # the upper half of a float32
        return (array.astype("<u4") << 16).view("<f4")
    return array != 0 if tensor.storage.kind == "BoolStorage" else array
