"""Arrays as TensorProto, and back.

Source: TensorFlow's tensor.proto. Differs: no strings, no complex numbers. As there, fewer values
than places stand for the last of them again.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.wire.dtypes import DTYPES
from serving.wire.messages import TensorProto

MOST_AXES = 32  # of a shape, as NumPy once had it
_NAMES = {dtype.number: name for name, dtype in DTYPES.items()}


class Kind(NamedTuple):
    """What array a TensorProto stands for."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    size_bytes: int


def kind_of(proto: Any, *, most_bytes: int) -> Kind:
    """Returns what array a TensorProto stands for, which is not made yet.

    Args:
        proto: The message.
        most_bytes: Largest array that may be made.

    Raises:
        ValueError: Another type, or a shape that is unknown or too large.
    """
    if proto.dtype not in _NAMES:
        raise ValueError(f"dtype: got {proto.dtype}; expected that of numbers or booleans.")
    dtype, rank = np.dtype(_NAMES[proto.dtype]), len(proto.tensor_shape.dim)
    if rank > MOST_AXES:  # before its sizes are multiplied: some thousands take seconds
        raise ValueError(f"tensor_shape: got {rank} axes; expected {MOST_AXES} at most.")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"tensor_shape: got {_short(shape)}; expected a known size of each axis.")
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes > most_bytes:
        raise ValueError(f"tensor_shape: got {_short(shape)}; expected {most_bytes} bytes at most.")
    return Kind(dtype, shape, size_bytes)


def to_array(proto: Any, *, most_bytes: int) -> NDArray[Any]:
    """Returns the array of a TensorProto.

    Args:
        proto: The message.
        most_bytes: Largest array that is made.

    Raises:
        ValueError: It holds no such array: another type, a shape that is unknown or too large, or
            more or fewer values.
    """
    return values_of(proto, kind_of(proto, most_bytes=most_bytes))


def values_of(proto: Any, kind: Kind) -> NDArray[Any]:
    """Returns the array of a TensorProto, of which it is known what it is.

    Raises:
        ValueError: It holds more or fewer values.
    """
    dtype, shape, size_bytes = kind
    count = size_bytes // dtype.itemsize
    if content := proto.tensor_content:
        if len(content) != size_bytes:
            raise ValueError(
                f"tensor_content: got {len(content)} bytes; expected {size_bytes} for "
                f"{_short(shape)} of {dtype}."
            )
        if dtype.kind == "b" and max(content, default=0) > 1:
            raise ValueError("tensor_content: expected bytes of 0 and 1, as it is of booleans.")
        return np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape)
    field = DTYPES[dtype.name].field
    values = getattr(proto, field)
    if len(values) > count or (count and not values):
        raise ValueError(
            f"{field}: got {len(values)} values; expected {count} for {_short(shape)}."
        )
    if dtype == np.float16:  # bits, as numbers
        found = np.array(values, np.int64).astype(np.uint16).view(np.float16)
    else:
        found = np.array(values)
        if dtype.kind in "iu":
            ends = np.iinfo(dtype)
            if len(values) and not (ends.min <= found.min() and found.max() <= ends.max):
                raise ValueError(f"int_val: expected whole numbers from {ends.min} to {ends.max}.")
        found = found.astype(dtype)
    if len(found) < count:
        found = np.concatenate([found, np.full(count - len(found), found[-1], dtype)])
    return found.reshape(shape)


def to_proto(array: NDArray[Any]) -> Any:
    """Returns an array as TensorProto."""
    proto = TensorProto(dtype=DTYPES[array.dtype.name].number)
    fill_shape(proto.tensor_shape, array.shape)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    proto.tensor_content = little.tobytes()
    return proto


def fill_shape(shape: Any, sizes: tuple[int, ...]) -> None:
    """Writes sizes, -1 where one may vary, into a TensorShapeProto."""
    for size in sizes:
        shape.dim.add(size=size)


def _short(shape: tuple[int, ...]) -> str:
    return str(shape)[:80]
