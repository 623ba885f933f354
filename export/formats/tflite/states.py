"""The grid of an LSTM's state: what the converter leaves undone.

The operator puts out the very integers of its state, so its output, its state and what both are
computed as have to have one scale and one zero point. The converter gives the state a range of its
own, and the output that of a concatenation behind it. The file runs, and its answers are wrong.
"""

from __future__ import annotations

import copy

from export.formats.tflite.flatbuffer import parse, schema, serialise

STATE = 18  # place of the state among the inputs
HIDDEN = 4  # of what it is computed as, among the intermediates


def one_grid(content: bytes) -> bytes:
    """Returns a TFLite file of integers whose LSTMs have states on the grid of their outputs."""
    model = parse(content)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    changed = False
    for graph in model.subgraphs:
        for operator in graph.operators:
            lstm = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
            end = graph.tensors[operator.outputs[0]]
            if codes[operator.opcodeIndex] != lstm or end.type != schema.TensorType.INT8:
                continue
            for place in (operator.inputs[STATE], operator.intermediates[HIDDEN]):
                graph.tensors[place].quantization = copy.copy(end.quantization)
                changed = True
    return serialise(model) if changed else content
