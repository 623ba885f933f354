"""What is given, made ready: the graph in the form that targets write, and the examples for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.answers import Examples, answered
from export.examples import Arrays, check_inputs, draw_inputs
from export.failures import told_as
from export.manifest import Signature, TensorSpec
from export.proof import Reference
from export.rewrite import follows_its_graph, has_half, is_rebuilt, without_softmax
from export.sameness import NUM_COMPARED, check_cut, check_same, softmax
from export.source import is_compressed, own_names, prepare, run_keras, words
from export.target import About, Target
from zoo.common.examples import gather, spread
from zoo.common.preprocessing import Preprocessing


def _opened(model: keras.Model, target: Target) -> tuple[keras.Model, Signature]:
    """What `prepare` makes of a model for a target."""
    with told_as(target.kind, "the model cannot be prepared"):
        return prepare(model, apart=target.one_namespace, plain_names=target.plain_names)


def examples_of(
    model: keras.Model, target: Target, samples: Any
) -> tuple[keras.Model, Signature, list[str], Examples]:
    """The graph to write, proven to be the user's, and examples with its answers.

    Returns:
        The model, its signature, the names of the outputs whose softmax is cut, and the examples.
    """
    net, signature = _opened(model, target)
    target.check_signature(signature)
    target.check_model(net)
    given = samples is not None
    inputs = gathered(model, signature, samples) if given else draw_inputs(signature, words(net))
    origin = "given" if given else "random"
    cut: list[str] = []
    if target.precision in ("int8", "int4"):
        whole, (net, cut) = net, without_softmax(net)
        if cut:
            places = spread(len(next(iter(inputs.values()))), NUM_COMPARED)
            few = {name: array[places] for name, array in inputs.items()}
            before = answered(whole, signature, few, origin=origin)
            after = run_keras(net, signature, before.inputs)
            if all(np.isfinite(after[name]).all() for name in cut):
                check_cut(before.expected, after, cut, kind=target.kind)
            else:  # scores of minus infinity, which no range holds
                net, cut = whole, []
    examples = answered(net, signature, inputs, origin=origin)
    half = has_half(model)
    if is_rebuilt(model) or not follows_its_graph(model):
        seen = examples
        if cut:
            shares = {n: softmax(a) if n in cut else a for n, a in examples.expected.items()}
            seen = replace(examples, expected=shares)
        check_same(model, seen, kind=target.kind, half=half)
    return net, signature, cut, examples


def reference_of(
    model: keras.Model, parent: Any, target: Target, probes: Examples, cut: Sequence[str]
) -> Reference | None:
    """Returns the float model whose distance is told, with its answers, where there is one.

    Args:
        model: The user's.
        parent: What it was made from, if the caller has it.
        target: Writes the file.
        probes: Examples that the file is run on.
        cut: Names of the outputs whose softmax the file has not.

    Raises:
        ValueError: The parent takes other inputs or gives other outputs.
    """
    if parent is None:
        if target.precision == "float32" or _is_quantised(model):
            return None
        return Reference("the model given", probes.expected)
    net, signature = _opened(parent, target)
    bare, without = without_softmax(net) if cut else (net, [])
    shares = () if sorted(without) == sorted(cut) else tuple(cut)
    told, arrays = parent.name, list(probes.inputs.values())
    entries = [spec.shape for spec in signature.inputs]
    if len(entries) != len(arrays) or not all(map(_takes, entries, arrays)):
        got = [("n", *array.shape[1:]) for array in arrays]
        raise ValueError(f"export: parent {told!r}: takes inputs {entries}; expected {got}.")
    inputs = dict(zip((spec.name for spec in signature.inputs), arrays, strict=True))
    found = run_keras(net if shares else bare, signature, inputs)
    if len(found) == len(probes.expected) == 1:  # a last layer of another name
        found = dict(zip(probes.expected, found.values(), strict=True))
    shapes = {name: array.shape for name, array in found.items()}
    wanted = {name: array.shape for name, array in probes.expected.items()}
    if shapes != wanted:
        raise ValueError(f"export: parent {told!r}: gives outputs {shapes}; expected {wanted}.")
    return Reference(told, found, shares)


def _is_quantised(model: keras.Model) -> bool:
    """Whether a model is no float model any more: it has ranges, or kernels of integers."""
    return any(
        is_compressed(layer) or getattr(layer, "quantization_mode", None)
        for layer in model._flatten_layers(include_self=False)
    )


def _takes(shape: tuple[int | None, ...], array: np.ndarray) -> bool:
    return len(shape) == array.ndim and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )


def gathered(model: keras.Model, signature: Signature, samples: Any) -> dict[str, np.ndarray]:
    """Returns a user's examples by the file's input names, given by those or the model's own.

    Args:
        model: The user's.
        signature: What `prepare` made of it.
        samples: In any form that `zoo.common.examples.gather` takes.
    """
    files = [spec.name for spec in signature.inputs]
    tensors = [tensor.name for tensor in model.inputs]
    also = dict(zip([*tensors, *own_names(model)[0]], files * 2, strict=True))
    return check_inputs(samples, signature, also={k: v for k, v in also.items() if k not in files})


def as_inputs(model: keras.Model, folder: str | Path, known: Preprocessing) -> Any:
    """The pictures of a folder as the stated preprocessing makes inputs of them."""
    specs = [TensorSpec(name=t.name, shape=t.shape, dtype="uint8") for t in model.inputs]
    (pixels,) = gather(folder, specs, where="export: samples", pad=known.pad).values()
    return (pixels * known.scale - np.array(known.mean)) / np.array(known.std)


def check_span(inputs: Arrays, about: About) -> None:
    """Refuses images that the stated preprocessing cannot have made."""
    known = about.preprocessing
    if known is None or known.size is None or len(inputs) != 1:
        return
    ((name, array),) = inputs.items()
    low, high = known.span()
    slack = 0.01 * (high - low)
    if np.any(array < low - slack) or np.any(array > high + slack):
        raise ValueError(
            f"export: samples of {name!r}: got values from {array.min():g} to {array.max():g};"
            f" expected {_joined(low)} to {_joined(high)}, which the preprocessing makes of pixels."
            " Pass the examples as the model takes them."
        )


def _joined(values: np.ndarray) -> str:
    return ", ".join(f"{value + 0.0:.4g}" for value in values)


def halves(examples: Examples) -> tuple[Examples, Examples]:
    """Returns those to calibrate with and those to compare, which calibration must not see.

    Examples may come sorted, by class or by size, or one class after another in turn. So of each
    two neighbours one is drawn for either half; that with the least or the greatest value of an
    input or output calibrates, for the range has to hold it. Both halves are shuffled, for some
    consumers look at their first alone. The drawing is the same each time.
    """
    total = len(examples)
    if total < 2:
        raise ValueError(
            f"export: samples: got {total} example; expected at least 2, one half to calibrate and"
            " one to compare."
        )
    rng = np.random.RandomState(0)
    first = 2 * np.arange(total // 2) + rng.randint(0, 2, total // 2)
    for place in _extremes(examples):
        if place // 2 < len(first):
            first[place // 2] = place
    second = np.setdiff1d(np.arange(total), first)
    first, second = rng.permutation(first), rng.permutation(second)
    return examples.at(first.tolist()), examples.at(second.tolist())


def _extremes(examples: Examples) -> list[int]:
    """The places of the examples with the least and the greatest floats of each end."""
    ends = (*examples.inputs.values(), *examples.expected.values())
    flat = [array.reshape(len(array), -1) for array in ends if array.dtype.kind == "f"]
    places = [(rows.min(axis=1).argmin(), rows.max(axis=1).argmax()) for rows in flat if rows.size]
    return [int(place) for pair in places for place in pair]
