"""The places of an unrolled layer: one range for what is computed at each.

A short text reaches the first places of a layer alone, or the last, and calibration then finds
nothing but zeros at the others: a range of a millionth, that a longer text would be cut off at, and
that XNNPACK refuses.
"""

from __future__ import annotations

import re
from typing import Any

from export.formats.tflite.flatbuffer import schema

_NUMBER = re.compile(r"(_\d+)?$")


def roles(model: Any) -> dict[int, str]:
    """Returns what tensors stand for in each place of an unrolled layer, by their own places.

    The places share a kernel, and are scopes of one name but for a number, e.g. `lstm/cell_3`.

    Args:
        model: A `ModelT` of floats, as the converter calibrates it.
    """
    graph = model.subgraphs[0]
    scopes: dict[int, set[str]] = {}  # of the products of a kernel
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        found = max(code.builtinCode, code.deprecatedBuiltinCode)
        if found == schema.BuiltinOperator.FULLY_CONNECTED:
            for name in _names(graph.tensors[operator.outputs[0]])[:1]:
                scopes.setdefault(operator.inputs[1], set()).add(_scope(name))
    places = {
        scope
        for some in scopes.values()
        for scope in some
        if sum(_stem(scope) == _stem(other) for other in some) > 1
    }
    found_roles = {}
    for operator in graph.operators:
        for place in operator.outputs:
            names = _names(graph.tensors[place])
            if names and all(_scope(name) in places for name in names):
                found_roles[place] = ";".join(
                    f"{_stem(_scope(name))}/{name.rpartition('/')[2]}" for name in names
                )
    return found_roles


def _names(tensor: Any) -> list[str]:
    """The names of what the converter has made one operator of."""
    return [name for name in tensor.name.decode().split(";") if "/" in name]


def _scope(name: str) -> str:
    return name.rpartition("/")[0]


def _stem(scope: str) -> str:
    return _NUMBER.sub("", scope)
