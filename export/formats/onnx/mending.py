"""What tf2onnx gets wrong in a graph of Keras or TFLite, put right in the ONNX model."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

INT8_ZERO = 128  # by which uint8 is more than int8
NUMBERS = ("QuantizeLinear", "DequantizeLinear")


def mend_transposed(model: Any) -> None:
    """Turns paddings below zero of transposed convolutions into `output_padding`, in place.

    They stand for places behind the last product: what Keras calls `output_padding`, and what a
    kernel smaller than the stride leaves over. ONNX Runtime refuses them.
    """
    from onnx import helper

    for node in [node for node in model.graph.node if node.op_type == "ConvTranspose"]:
        known = {one.name: one for one in node.attribute}
        if "pads" not in known or min(pads := list(known["pads"].ints)) >= 0:
            continue
        half = len(pads) // 2
        totals = [pads[i] + pads[half + i] for i in range(half)]
        behind = [max(0, -total) for total in totals]
        for i, total in enumerate(totals):
            if total < 0:
                pads[i] = pads[half + i] = 0
        del known["pads"].ints[:]
        known["pads"].ints.extend(pads)
        node.attribute.append(helper.make_attribute("output_padding", behind))


def shift_to_uint8(model: Any) -> None:
    """Moves activations from int8 to uint8, in place; kernels stay int8.

    A table of an embedding is a kernel that is read as an activation: it is moved too.
    """
    from onnx import numpy_helper

    constants = {one.name: one for one in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}

    def moved(name: str) -> str:
        """The name of a constant of int8 as uint8, made once; that of another as it is."""
        if name not in constants:
            return name
        array = numpy_helper.to_array(constants[name])
        if array.dtype != np.int8:
            return name
        new = f"{name}_uint8"
        if new not in constants:
            wide = (array.astype(np.int16) + INT8_ZERO).astype(np.uint8)
            constants[new] = numpy_helper.from_array(wide, new)
            model.graph.initializer.append(constants[new])
        return new

    seen = set()
    for node in model.graph.node:
        if node.op_type not in NUMBERS:
            continue
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            continue  # a kernel: its integers are in the file
        node.input[2] = moved(node.input[2])
        waiting = [node.input[0]] if node.op_type == "DequantizeLinear" else []
        while waiting:  # back to where its integers come from
            maker = makers.get(waiting.pop())
            if maker is None or maker.op_type in NUMBERS or id(maker) in seen:
                continue
            seen.add(id(maker))
            maker.input[:] = [moved(name) for name in maker.input]
            waiting.extend(maker.input)
    del model.graph.value_info[:]  # types of before


def part_ends(model: Any, passed: Mapping[str, str]) -> None:
    """Gives an input that goes out as it is two names, in place; a TFLite file has one tensor.

    Args:
        model: The ONNX model, which calls both as the output.
        passed: Names of inputs that go out, by those of the outputs.
    """
    from onnx import helper

    taken = {value.name for value in model.graph.input}
    passed = {out: given for out, given in passed.items() if out in taken}
    for value in model.graph.input:
        value.name = passed.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [passed.get(name, name) for name in node.input]
    for out, given in passed.items():
        model.graph.node.append(helper.make_node("Identity", [given], [out]))


def double_ends(model: Any, doubles: Sequence[Sequence[str]]) -> None:
    """Gives outputs that are one tensor a name each, in place; of a TFLite file one is left.

    Args:
        model: The ONNX model.
        doubles: Names of the outputs of each such tensor.
    """
    from onnx import helper

    there = {value.name: value for value in model.graph.output}
    for names in doubles:
        known = next(name for name in names if name in there)
        for name in names:
            if name not in there:
                there[name] = type(there[known])()
                there[name].CopyFrom(there[known])
                there[name].name = name
                model.graph.node.append(helper.make_node("Identity", [known], [name]))
    if doubles:
        values = list(there.values())
        del model.graph.output[:]
        model.graph.output.extend(values)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keeps off what tf2onnx logs: it raises the same, or leaves it to be seen in the graph."""
    log = logging.getLogger("tf2onnx")
    names = [name for name in logging.root.manager.loggerDict if name.startswith("tf2onnx")]
    logs = [log, *map(logging.getLogger, names)]
    before = [one.disabled for one in logs]
    for one in logs:
        one.disabled = True
    try:
        yield
    finally:
        for one, was in zip(logs, before, strict=True):
            one.disabled = was
