"""A `.tflite` file as objects, and back: to mend what the converter wrote."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

ALIGNMENT = 16  # of a buffer's data; microcontrollers and XNNPACK read it in place


def parse(content: bytes) -> Any:
    """Returns the file as a `ModelT` of LiteRT's schema."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))


def serialise(model: Any) -> bytes:
    """Returns a `ModelT` as a file, its buffers aligned, which the generated code leaves out."""
    model.buffers = [_Aligned(buffer.data) for buffer in model.buffers]
    size = sum(0 if buffer.data is None else len(buffer.data) for buffer in model.buffers)
    builder = flatbuffers.Builder(size + (1 << 16))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def to_buffer(model: Any, data: bytes) -> int:
    """Adds a buffer of these bytes to a `ModelT`, and returns its index."""
    model.buffers.append(schema.BufferT(np.frombuffer(data, np.uint8)))
    return len(model.buffers) - 1


class _Aligned:
    """Packs as a `BufferT` does."""

    def __init__(self, data: Any):
        self.data = data

    def Pack(self, builder: Any) -> int:  # noqa: N802
        """Writes the buffer, and returns its place."""
        if self.data is None:
            schema.BufferStart(builder)
            return int(schema.BufferEnd(builder))
        data = np.ascontiguousarray(self.data, np.uint8).tobytes()
        builder.StartVector(1, len(data), ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        place = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, place)
        return int(schema.BufferEnd(builder))
