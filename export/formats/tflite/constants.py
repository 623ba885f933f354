"""Constants of `ONE_HOT`: what the converter leaves undone.

The operator hands its constants on as they are, so they have to have the scale and the zero point
of what comes out. The converter gives the zero a scale of its own: it then stands for a half. The
file runs, and its answers are wrong.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from export.formats.tflite.flatbuffer import parse, schema, serialise, to_buffer

COPIED = (2, 3)  # inputs: what stands where the index is, and elsewhere
_TYPES: dict[int, Any] = {schema.TensorType.INT8: np.int8, schema.TensorType.INT16: np.int16}


def rescaled(content: bytes) -> bytes:
    """Returns a TFLite file of integers whose one-hots have the zeros and ones that they should."""
    model = parse(content)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    changed = False
    for graph in model.subgraphs:
        for operator in graph.operators:
            end = graph.tensors[operator.outputs[0]]
            one_hot = codes[operator.opcodeIndex] == schema.BuiltinOperator.ONE_HOT
            if not one_hot or end.type not in _TYPES:
                continue
            operator.inputs = list(operator.inputs)
            for place in COPIED:
                given = graph.tensors[operator.inputs[place]]
                data = model.buffers[given.buffer].data
                if data is None or not len(data) or given.type != end.type:
                    continue
                if _scale(given) == _scale(end):
                    continue
                # Others may read the constant too.
                operator.inputs[place] = len(graph.tensors)
                graph.tensors.append(_as(model, given, end))
                changed = True
    return serialise(model) if changed else content


def _scale(tensor: Any) -> tuple[float, int]:
    known = tensor.quantization
    return float(known.scale[0]), int(known.zeroPoint[0])


def _as(model: Any, given: Any, end: Any) -> Any:
    """A constant with the scale of another tensor."""
    kind = _TYPES[end.type]
    scale, zero = _scale(given)
    values = (np.asarray(model.buffers[given.buffer].data, np.uint8).view(kind) - zero) * scale
    scale, zero = _scale(end)
    limits = np.iinfo(kind)
    found = np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(kind)
    made = copy.copy(given)
    made.buffer, made.quantization = to_buffer(model, found.tobytes()), end.quantization
    return made
