"""The Open Inference Protocol's binary tensors: numbers as bytes behind the JSON of a request.

Source: https://github.com/kserve/open-inference-protocol and Triton's extension
`binary_tensor_data`: the header `Inference-Header-Content-Length` tells the bytes of the JSON, a
tensor's parameter `binary_data_size` those of its own, little-endian, row by row, one after another
in the order of the JSON. Differs: no strings (BYTES), no BF16.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.engines import Arrays

EXTENSION = "binary_tensor_data"
HEADER = b"inference-header-content-length"
SIZE, WANTED, ALL_WANTED = "binary_data_size", "binary_data", "binary_data_output"
MOST_DIGITS = 18


def split(body: bytes, told: bytes | None) -> tuple[bytes, memoryview]:
    """Returns the JSON of a request, and the tensors behind it.

    Args:
        body: The whole.
        told: Value of `HEADER`; `None` where all is JSON.

    Raises:
        ValueError: It is not the size of a part of the body.
    """
    if told is None:
        return body, memoryview(b"")
    known = told.isdigit() and len(told) <= MOST_DIGITS
    if not known or int(told) > len(body):
        raise ValueError(
            f"Inference-Header-Content-Length: got {told.decode('latin-1')[:80]!r}; expected the "
            f"bytes of the JSON, {len(body)} at most, which the body has."
        )
    count = int(told)
    return body[:count], memoryview(body)[count:]


def size_of(tensor: dict[str, Any], where: str) -> int | None:
    """Returns the bytes that a tensor of a request has behind the JSON; `None` of one within it.

    Raises:
        ValueError: It is no such number, or the tensor has numbers in the JSON too.
    """
    size = (tensor.get("parameters") or {}).get(SIZE)
    if size is None or size is False:
        return None
    if type(size) is not int or size < 0:
        raise ValueError(f"{where}.parameters.{SIZE}: expected a number of bytes.")
    if "data" in tensor:
        raise ValueError(f"{where}: got data and {SIZE}; expected one of them.")
    return size


def read(content: memoryview, dtype: str, shape: list[int], where: str) -> NDArray[Any]:
    """Returns an array of bytes, a copy.

    Args:
        content: The bytes.
        dtype: NumPy's name of the type.
        shape: Sizes, one at least each.
        where: Opens an error line.

    Raises:
        ValueError: It is another number of bytes than the shape has; or a boolean is neither.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    if len(content) != (expected := math.prod(shape) * kind.itemsize):
        raise ValueError(
            f"{where}: got {len(content)} bytes; expected {expected} for {str(tuple(shape))[:80]} "
            f"of {dtype}."
        )
    if kind.kind == "b" and np.frombuffer(content, np.uint8).max() > 1:
        raise ValueError(f"{where}: expected bytes of 0 and 1, as it is of booleans.")
    return np.frombuffer(content, kind).astype(dtype).reshape(shape)  # a copy, aligned


def write(outputs: Arrays, names: set[str]) -> tuple[dict[str, int], bytes]:
    """Returns the size in bytes of some outputs, and their bytes, in the order of `outputs`."""
    parts = {
        name: array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        for name, array in outputs.items()
        if name in names
    }
    return {name: len(part) for name, part in parts.items()}, b"".join(parts.values())
