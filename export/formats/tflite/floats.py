"""What stays in floats in a file of integers: what 8 bits would ruin, whatever the examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from export.formats.tflite.flatbuffer import parse, schema

SHAPES = (
    *("RESHAPE", "CONCATENATION", "STRIDED_SLICE", "SLICE", "SPLIT", "SPLIT_V", "EXPAND_DIMS"),
    *("SQUEEZE", "TRANSPOSE", "PACK", "UNPACK", "GATHER", "PAD", "PADV2", "MIRROR_PAD"),
    *("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "MAX_POOL_2D", "AVERAGE_POOL_2D"),
)
_KEEPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "MUL", "ADD", "SUB", "SELECT", "SELECT_V2")
_CELL = (*_KEEPING, "LOGISTIC", "TANH", "SPLIT", "STRIDED_SLICE", "SLICE")
_SHARES = ("RESHAPE", "ADD", "MUL", "EXP", "SOFTMAX", "SUM", "MEAN")
_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items()}


def kept(content: bytes) -> set[str]:
    """Returns the names of the tensors whose operators are to compute in floats.

    Args:
        content: A `.tflite` file of floats.
    """
    model = parse(content)
    return _indices(model) | _quotients(model) | _cells(model)


def _indices(model: Any) -> set[str]:
    """Whole numbers that are made of integers, and become integers again.

    A number that is a hair too small then loses one, e.g. a category the one before it.
    """
    graph = model.subgraphs[0]
    moved: dict[int, set[str]] = {}
    found: set[str] = set()
    for operator in graph.operators:
        name, end = name_of(model, operator), operator.outputs[0]
        read = [place for place in operator.inputs if place >= 0 and not is_given(model, place)]
        if name == "CAST" and is_float(graph, end) and not is_float(graph, read[0]):
            moved[end] = set()
        elif name == "CAST" and not is_float(graph, end):
            found |= moved.get(read[0], set())
        elif name in SHAPES and read and all(place in moved for place in read):
            so_far = set().union(*(moved[place] for place in read))
            for place in operator.outputs:
                moved[place] = so_far | {graph.tensors[place].name.decode()}
    return found


def _quotients(model: Any) -> set[str]:
    """Quotients of what is computed, with what they are made of up to the products with kernels.

    A sum of small shares that is rounded to zero ends the run; a softmax of which few places count
    has steps of 1/256 before it is divided, and far wider ones then.
    """
    graph = model.subgraphs[0]
    made = {place: operator for operator in graph.operators for place in operator.outputs}
    waiting = [
        operator
        for operator in graph.operators
        if name_of(model, operator) == "DIV" and not is_given(model, operator.inputs[1])
    ]
    found: dict[int, Any] = {}
    while waiting:
        operator = waiting.pop()
        found[id(operator)] = operator
        before = [made[place] for place in operator.inputs if place in made]
        waiting += [x for x in before if name_of(model, x) in _SHARES and id(x) not in found]
    return _made_floats(graph, found.values())


def _cells(model: Any) -> set[str]:
    """What is done to a state that a step is given and hands on, gates and all, but for kernels.

    A cell counts further than 8 bits do, and a gate of .999 that is rounded to 1 never forgets.
    """
    graph = model.subgraphs[0]
    made = {place: operator for operator in graph.operators for place in operator.outputs}
    read: dict[int, list[Any]] = {}
    for operator in graph.operators:
        for place in operator.inputs:
            read.setdefault(place, []).append(operator)

    def handed_on(state: int) -> bool:
        """Whether what goes out is the state, times a gate, and what is added to that."""
        waiting, seen = [(state, False)], set()
        while waiting:
            place, gated = waiting.pop()
            if gated and place in graph.outputs:
                return True
            for operator in read.get(place, ()):
                name, end = name_of(model, operator), operator.outputs[0]
                others = [one for one in operator.inputs if one != place]
                gate = name == "MUL" and not any(is_given(model, one) for one in others)
                if name in _KEEPING and (end, gated or gate) not in seen:
                    seen.add((end, gated or gate))
                    waiting.append((end, gated or gate))
        return False

    found: dict[int, Any] = {}
    waiting = [place for place in graph.inputs if is_float(graph, place) and handed_on(place)]
    while waiting:
        place = waiting.pop()
        for operator in (*read.get(place, ()), *filter(None, [made.get(place)])):
            if name_of(model, operator) in _CELL and id(operator) not in found:
                found[id(operator)] = operator
                ends = (*operator.inputs, *operator.outputs)
                waiting += [end for end in ends if end >= 0 and not is_given(model, end)]
    return _made_floats(graph, found.values())


def _made_floats(graph: Any, operators: Iterable[Any]) -> set[str]:
    """The names of what operators make of floats."""
    places = [place for operator in operators for place in operator.outputs]
    return {graph.tensors[place].name.decode() for place in places if is_float(graph, place)}


def name_of(model: Any, operator: Any) -> str:
    """Returns what an operator is called, e.g. `CONV_2D`."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")


def is_float(graph: Any, place: int) -> bool:
    """Whether a tensor is of float32."""
    return bool(graph.tensors[place].type == schema.TensorType.FLOAT32)


def is_given(model: Any, place: int) -> bool:
    """Whether a tensor is a constant."""
    data = model.buffers[model.subgraphs[0].tensors[place].buffer].data
    return data is not None and len(data) > 0
