"""Arrays as TensorProto, and back.

Source: TensorFlow's tensor.proto. Differs: no strings, no complex numbers. As there, fewer values
than places stand for the last of them again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.messages import message

TensorProto = message("tensorflow.TensorProto")

# TensorFlow's number of each type, and the field that holds its values.
TYPES: dict[str, tuple[int, str]] = {
    "float32": (1, "float_val"),
    "float64": (2, "double_val"),
    "int32": (3, "int_val"),
    "uint8": (4, "int_val"),
    "int16": (5, "int_val"),
    "int8": (6, "int_val"),
    "int64": (9, "int64_val"),
    "bool": (10, "bool_val"),
    "uint16": (17, "int_val"),
    "float16": (19, "half_val"),
    "uint32": (22, "uint32_val"),
    "uint64": (23, "uint64_val"),
}
_NAMES = {number: name for name, (number, _) in TYPES.items()}


def to_array(proto: Any, *, most_bytes: int) -> NDArray[Any]:
    """Returns the array of a TensorProto.

    Args:
        proto: The message.
        most_bytes: Largest array that is made.

    Raises:
        ValueError: It holds no such array: another type, a shape that is unknown or too large, or
            more or fewer values.
    """
    if proto.dtype not in _NAMES:
        raise ValueError(f"dtype: got {proto.dtype}; expected that of numbers or booleans.")
    dtype = np.dtype(_NAMES[proto.dtype])
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"tensor_shape: got {list(shape)}; expected a known size of each axis.")
    if len(shape) > 32 or count * dtype.itemsize > most_bytes:
        raise ValueError(
            f"tensor_shape: got {str(shape)[:80]}; expected {most_bytes} bytes at most."
        )
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise ValueError(
                f"tensor_content: got {len(proto.tensor_content)} bytes; expected "
                f"{count * dtype.itemsize} for {shape} of {dtype}."
            )
        return np.frombuffer(proto.tensor_content, dtype.newbyteorder("<")).reshape(shape)
    values = getattr(proto, TYPES[dtype.name][1])
    if len(values) > count or (count and not values):
        raise ValueError(
            f"{TYPES[dtype.name][1]}: got {len(values)} values; expected {count} for {shape}."
        )
    if dtype == np.float16:  # bits, as numbers
        found = np.array(values, np.int64).astype(np.uint16).view(np.float16)
    else:
        found = np.array(values)
        if dtype.kind in "iu":
            ends = np.iinfo(dtype)
            if len(values) and not (ends.min <= min(values) and max(values) <= ends.max):
                raise ValueError(f"int_val: expected whole numbers from {ends.min} to {ends.max}.")
        found = found.astype(dtype)
    if len(found) < count:
        found = np.concatenate([found, np.full(count - len(found), found[-1], dtype)])
    return found.reshape(shape)


def to_proto(array: NDArray[Any]) -> Any:
    """Returns an array as TensorProto."""
    proto = TensorProto(dtype=TYPES[array.dtype.name][0])
    fill_shape(proto.tensor_shape, array.shape)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    proto.tensor_content = little.tobytes()
    return proto


def fill_shape(shape: Any, sizes: tuple[int, ...]) -> None:
    """Writes sizes, -1 where one may vary, into a TensorShapeProto."""
    for size in sizes:
        shape.dim.add(size=size)
