"""Which numbers an input takes, where those are fewer than its type holds.

A model that looks a number up in a table has no answer beyond the table, and some runtimes make one
up. Others compute integers of 64 bits in 32, and wrap around in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Any

import keras
import numpy as np

from export.answers import answers
from export.examples import Arrays
from export.manifest import Signature, TensorSpec
from export.parity import compare
from export.target import Tolerance

Run = Callable[[Arrays], Arrays]
_SAME_VALUES = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Permute)
_SAME_OPS = ("Cast", "ExpandDims", "Flip", "GetItem", "Reshape", "Roll", "Squeeze", "Transpose")


def ranges_of(
    net: keras.Model, signature: Signature, run: Run, inputs: Arrays, limits: Tolerance
) -> dict[str, tuple[int, int]]:
    """Returns the least and the greatest number that inputs take, by name.

    Of an input that is looked up in a table, the places of the table, those that are counted from
    its end only if the file finds them too. Of other integers the widest range of -2^k to 2^k - 1
    within which the file answers as Keras does. Inputs of which neither is less than what their
    type holds are not told.

    Args:
        net: What `prepare` returned.
        signature: Likewise.
        run: Runs the file on examples (n, ...) by input name.
        inputs: Examples that the file has been compared on.
        limits: How far an answer may be from Keras'.
    """
    found = {}
    for tensor, spec in zip(net.inputs, signature.inputs, strict=True):
        sizes = list(_tables(net, tensor))
        kind = inputs[spec.name].dtype.kind

        def agrees(pair: tuple[int, int], spec: TensorSpec = spec) -> bool:
            return _agrees(net, signature, run, inputs, spec, pair, limits)

        if sizes and kind in "fiu":
            size = min(sizes)
            counted = kind != "u" and agrees((-size, -1))
            found[spec.name] = (-size if counted else 0, size - 1)
        elif kind in "iu" and not all(map(agrees, _far(inputs[spec.name].dtype))):
            least, *wider = _widths(inputs[spec.name])
            found[spec.name] = [least, *takewhile(agrees, wider)][-1]
    return found


def _tables(net: keras.Model, tensor: Any) -> Iterator[int]:
    """Sizes of the tables in which an input of a model is looked up as it is."""
    nodes = [node for depth in net._nodes_by_depth.values() for node in depth]
    todo = [tensor]
    while todo:
        values = todo.pop()
        for node in nodes:
            places = [i for i, one in enumerate(node.arguments.keras_tensors) if one is values]
            layer = node.operation
            if not places:
                continue
            if isinstance(layer, keras.layers.Embedding):
                yield int(layer.input_dim)
            elif isinstance(layer, _SAME_VALUES) or type(layer).__name__ in _SAME_OPS:
                todo += node.output_tensors
            elif hasattr(layer, "_nodes_by_depth"):
                for place in places:
                    yield from _tables(layer, layer.inputs[place])


def _far(dtype: np.dtype[Any]) -> list[tuple[int, int]]:
    """The ends of a type, and a third of them: doubled, the ends are those of 32 bits again."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return [(low, high), (low // 3, high // 3)]


def _widths(given: np.ndarray) -> Iterator[tuple[int, int]]:
    """Wider and wider ranges, from that of some examples on."""
    low = int(np.iinfo(given.dtype).min)
    yield (least := (int(given.min()), int(given.max())))
    for bits in range(1, np.iinfo(given.dtype).bits):
        pair = max(-(2**bits), low), 2**bits - 1
        if pair[0] <= least[0] and pair[1] >= least[1]:
            yield pair


def _agrees(
    net: keras.Model,
    signature: Signature,
    run: Run,
    inputs: Arrays,
    spec: TensorSpec,
    pair: tuple[int, int],
    limits: Tolerance,
) -> bool:
    """Whether a file answers as Keras does where an input is the least and the greatest number.

    So it is where Keras has no answer: nothing is known there.
    """
    given: dict[str, np.ndarray] = {name: array[[0, 0]] for name, array in inputs.items()}
    for row, value in zip((0, 1), pair, strict=True):
        given[spec.name][row] = value
    expected, why = answers(net, signature, given)
    kept = [row for row in (0, 1) if not why[row]]
    if not kept:
        return True
    asked: Mapping[str, np.ndarray] = {name: array[kept] for name, array in given.items()}
    wanted = {name: array[kept] for name, array in expected.items()}
    try:
        got = run(asked)
    except Exception:  # each runtime has its own for what it does not take
        return False
    if limits.max_relative and any(
        not np.array_equal(array, got[name])
        for name, array in wanted.items()
        if array.dtype.kind != "f"
    ):
        return False
    return compare(wanted, got, limits, runtime="", inputs="edges", left_out={}).passed
