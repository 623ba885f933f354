"""Integers of 16 bits between kernels of 8: what the converter leaves undone.

From ranges of 16 bits the converter writes tensors of int16, but biases of int32, which LiteRT's
kernels read as int64, and sums that are said to have scales of powers of two, which they have not.
Without either mended the file runs and its answers are wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.formats.tflite.flatbuffer import parse, schema, serialise, to_buffer


def widened(data: bytes) -> bytes:
    """Returns a TFLite file with biases of int64, and sums of any scale, beside int16 tensors."""
    model = parse(data)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    names = schema.BuiltinOperator
    products = {names.CONV_2D, names.DEPTHWISE_CONV_2D, names.FULLY_CONNECTED, names.TRANSPOSE_CONV}
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = codes[operator.opcodeIndex]
            if graph.tensors[operator.outputs[0]].type != schema.TensorType.INT16:
                continue
            if code in products:
                place = 3 if code == names.TRANSPOSE_CONV else 2
                if len(operator.inputs) > place and operator.inputs[place] >= 0:
                    _bias_to_int64(model, graph.tensors[operator.inputs[place]])
            elif code in (names.ADD, names.SUB):
                operator.builtinOptions.potScaleInt16 = False
    return serialise(model)


def _bias_to_int64(model: Any, bias: Any) -> None:
    if bias.type != schema.TensorType.INT32:
        return
    old = np.frombuffer(bytes(bytearray(model.buffers[bias.buffer].data)), "<i4")
    bias.buffer = to_buffer(model, old.astype("<i8").tobytes())
    bias.type = schema.TensorType.INT64
