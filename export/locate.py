"""Where a file goes wrong: the error after each layer, in a second file that shows them all.

A model whose outputs are those of every layer is written by the same target and run. The layers at
which the error grows most are named, with what to do. To show a layer's output can undo a fusion of
the converter, so a fault of that fusion may vanish here; then nothing is named.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from export.examples import Arrays
from export.manifest import Signature, TensorSpec
from export.names import called
from export.source import run_keras
from export.target import Source, Target
from zoo.common.examples import spread

NUM_PROBES = 8
NUM_NAMED = 3
LEAST = 0.1  # of the limit on the whole: what adds less is not named
QUANTISE = (
    "quantise the model first (`zoo compress MODEL int8`), which leaves in floats what makes unlike"
    " columns alike, and other layers by its setting `layers`"
)
ADVICE = {
    "float32": "report it, with the layer's settings, or write the layer in other operations",
    "int16x8": f"calibrate on more examples, or {QUANTISE}, and export that to tflite-int8",
    "integer": f"calibrate on more examples, {QUANTISE}, or export in 16x8",
}


class Step(NamedTuple):
    """The output of a layer, and where its inputs come from.

    Attributes:
        path: Path of the layer; names joined by slashes.
        layer: The layer, or a nested model.
        inputs: The symbolic tensors it takes.
        output: The symbolic tensor it returns.
    """

    path: str
    layer: Any
    inputs: list[Any]
    output: Any


class Jump(NamedTuple):
    """A layer at which the error grows: from `before` to `after`, shares of the largest output."""

    path: str
    before: float
    after: float


def explain(target: Target, source: Source, probes: Arrays) -> str:
    """Returns a sentence that names layers, or nothing where none stands out or it cannot be told.

    Args:
        target: Wrote the file that differs.
        source: What it was written from.
        probes: Inputs (n, ...) by name; a few are used.
    """
    if masked := masked_softmax(source.net) if not target.precision.startswith("float") else "":
        return (
            f" The softmax {masked!r} has a mask: next to the scores stands a number that no range"
            " of integers holds. Give out the scores, and mask them outside of the file."
        )
    places = spread(len(next(iter(probes.values()))), NUM_PROBES)
    few = {name: array[places] for name, array in probes.items()}
    try:
        jumps = find_jumps(target, source, few)
    except Exception:  # what is to be explained is said already
        return ""
    if not jumps:
        return ""
    told = "; ".join(f"{jump.path} ({jump.before:.2g} to {jump.after:.2g})" for jump in jumps)
    kind = "float32" if target.precision.startswith("float") else target.precision
    advice = ADVICE.get(kind, ADVICE["integer"])
    return f" The difference grows most at {told}. To do: {advice}."


def masked_softmax(net: keras.Model) -> str:
    """Returns the name of a softmax that is called with a mask, or an empty string."""
    for depth in net._nodes_by_depth.values():
        for node in depth:
            layer = node.operation
            if (
                isinstance(layer, keras.layers.Softmax)
                and node.arguments.kwargs.get("mask") is not None
            ):
                return called(layer)
    return ""


def find_jumps(target: Target, source: Source, probes: Arrays, prefix: str = "") -> list[Jump]:
    """Returns the layers, in the order of the graph, at which the error grows most.

    A nested model is entered where it is the first of them.

    Args:
        target: Writes and runs the file.
        source: Source of the model.
        probes: Inputs (n, ...) by name.
        prefix: Prefix of the paths.
    """
    steps = list(_steps(source.net))
    errors = _errors(target, source, probes, steps)
    found = []
    for step in steps:
        before = max((errors.get(id(tensor), 0.0) for tensor in step.inputs), default=0.0)
        after = errors.get(id(step.output), 0.0)
        if after - before > LEAST * (target.tolerance.max_relative or 1.0):
            found.append((after - before, step, Jump(prefix + step.path, before, after)))
    worst = sorted(found, key=lambda item: -item[0])[:NUM_NAMED]
    jumps = [jump for _, _, jump in found if any(jump is item[2] for item in worst)]
    if worst and isinstance(first := found[0][1].layer, keras.Model):
        inner, values = _enter(source, found[0][1], probes)
        deeper = find_jumps(target, inner, values, f"{prefix}{called(first)}/")
        return deeper or jumps
    return jumps


def _steps(net: keras.Model) -> Iterator[Step]:
    """The calls of a graph's layers that return one tensor of floats, in order."""
    for depth in sorted(net._nodes_by_depth, reverse=True):
        for node in net._nodes_by_depth[depth]:
            outputs = list(node.output_tensors)
            if node.is_input or len(outputs) != 1 or "float" not in str(outputs[0].dtype):
                continue
            layer = node.operation
            yield Step(called(layer), layer, list(node.arguments.keras_tensors), outputs[0])


def _errors(target: Target, source: Source, probes: Arrays, steps: list[Step]) -> dict[int, float]:
    """The error of each tensor, a share of its largest value, by `id`."""
    outputs = {f"step_{index}": step.output for index, step in enumerate(steps)}
    inner = _with_outputs(source, source.net.inputs, outputs, source.signature.inputs)
    with tempfile.TemporaryDirectory() as scratch:
        written = target.write(inner, Path(scratch))
        got = target.open(Path(scratch, written.file)).run(probes)
    expected = run_keras(inner.net, inner.signature, probes)
    errors = {}
    for name, tensor in outputs.items():
        want = expected[name].astype(np.float64)
        largest = float(np.abs(want).max()) or 1.0
        errors[id(tensor)] = float(np.abs(got[name] - want).max()) / largest
    return errors


def _enter(source: Source, step: Step, probes: Arrays) -> tuple[Source, Arrays]:
    """A nested model by itself, with what flows into it."""
    nested = step.layer
    into = {f"input_{index}": tensor for index, tensor in enumerate(step.inputs)}
    feeder = _with_outputs(source, source.net.inputs, into, source.signature.inputs)
    values = run_keras(feeder.net, feeder.signature, probes)
    calibration = source.calibration and run_keras(feeder.net, feeder.signature, source.calibration)
    outputs = {f"output_{index}": tensor for index, tensor in enumerate(nested.outputs)}
    inner = _with_outputs(source, nested.inputs, outputs, feeder.signature.outputs)
    return dataclasses.replace(inner, calibration=calibration), values


def _with_outputs(
    source: Source, inputs: list[Any], outputs: dict[str, Any], specs: tuple[TensorSpec, ...]
) -> Source:
    """The same graph between other ends."""
    found = tuple(
        TensorSpec(name=name, shape=(None, *tensor.shape[1:]), dtype=str(tensor.dtype))
        for name, tensor in outputs.items()
    )
    signature = Signature(inputs=specs, outputs=found)
    return dataclasses.replace(source, net=keras.Model(inputs, outputs), signature=signature)
