"""How far each operator of an ONNX file is from the TFLite file that it was made of.

Two runtimes may round a product to different sides, and what follows makes one step of an int8
tensor into several: a tanh of a steep range, fifty layers in a row. So each operator is given what
TFLite computed before it, and has to answer what TFLite does, to within a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from export.examples import Arrays
from export.formats.onnx.runtime import open_onnx
from export.formats.tflite.litert import calls, int8_tensors

ZERO = 128  # activations are int8 in TFLite, and by this much more, as uint8, in ONNX


def farthest(content: bytes, model: Any, examples: Sequence[Arrays]) -> tuple[int, str]:
    """Returns the most steps that an operator's output is off, and the name of that output.

    Args:
        content: Bytes of the TFLite file.
        model: The ONNX model of the same integers; activations are uint8.
        examples: Each a batch of one, by input name.

    Raises:
        RuntimeError: The two files have no names in common.
    """
    from onnx import TensorProto, helper

    rows = _by_tflite(content, examples)
    ends = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.output[0] in rows[0]
    ]
    if not ends:
        raise RuntimeError("no tensor of the ONNX model has a name of the TFLite file's.")
    whole = type(model)()
    whole.CopyFrom(model)
    for name in ends:
        whole.graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, None))
    found = open_onnx(whole.SerializeToString()).call(examples[0])
    turned = [name for name in ends if _is_turned(found[name], rows[0][name])]

    given = {name: f"{name}_of_tflite" for name in ends}
    for node in whole.graph.node:
        node.input[:] = [given.get(name, name) for name in node.input]
    for name in ends:
        shape = found[name].shape
        entry = helper.make_tensor_value_info(given[name], TensorProto.UINT8, shape)
        whole.graph.input.append(entry)
    session = open_onnx(whole.SerializeToString())
    worst, where = 0, ""
    for example, row in zip(examples, rows, strict=True):
        row |= {name: row[name].transpose(0, 3, 1, 2) for name in turned}
        expected = {name: row[name].reshape(found[name].shape) for name in ends}
        fed = {given[name]: (array + ZERO).astype(np.uint8) for name, array in expected.items()}
        got = session.call({**example, **fed})
        for name, array in expected.items():
            steps = int(np.abs(got[name].astype(int) - ZERO - array).max())
            if steps > worst:
                worst, where = steps, name
    return worst, where


def _by_tflite(content: bytes, examples: Sequence[Arrays]) -> list[dict[str, np.ndarray]]:
    """The int8 tensors of each example as LiteRT's plain kernels compute them, by their names."""
    places = int8_tensors(content)
    rows = []
    for read in calls(content, examples, reference=True):
        found = {name: read(place) for name, place in places.items()}
        rows.append({name: one.astype(int) for name, one in found.items() if one is not None})
    return rows


def _is_turned(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether an ONNX tensor has its channels before height and width."""
    if not got.ndim == expected.ndim == 4:
        return False
    turned = expected.transpose(0, 3, 1, 2)
    if turned.shape != got.shape or expected.shape != got.shape:
        return turned.shape == got.shape
    off = [np.abs(got.astype(int) - ZERO - one).sum() for one in (expected, turned)]
    return bool(off[1] < off[0])
