"""The way to look at a graph: walk its leaf layers, trace its steps, run some of them.

A leaf is a layer that is not itself a Functional or Sequential model. `model.layers` stops at
nested models; these functions do not. A graph is changed by `compress.graph.rebuild` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras

from compress.graph import ties


class Call(NamedTuple):
    """One step of a graph.

    Attributes:
        path: Path of a leaf layer; empty for a nested model, or an operation of `keras.ops`.
        operation: The layer, the nested model, or the operation.
        args: What it is called with, constants among the symbolic tensors.
        kwargs: Likewise, by name.
        outputs: Flat; of a nested model none, because its own steps follow.
    """

    path: str
    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[keras.KerasTensor]

    @property
    def arguments(self) -> list[Any]:
        """What it is called with, flat, constants among the symbolic tensors."""
        return list(keras.tree.flatten((self.args, self.kwargs)))

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The symbolic tensors among the arguments."""
        return [x for x in self.arguments if isinstance(x, keras.KerasTensor)]


class Trace(NamedTuple):
    """A graph as it runs: a tensor that a step returns is the very one that another is given."""

    inputs: list[keras.KerasTensor]
    calls: list[Call]
    outputs: list[keras.KerasTensor]


def leaf_layers(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Walks the leaf layers of a model in graph order, entering nested models.

    A shared layer appears once, under the first path that leads to it. Inputs are not layers here.

    Args:
        model: A built Functional or Sequential model.

    Yields:
        `(path, layer)`. A path joins names with slashes: `encoder/conv1` is a layer of the nested
        model `encoder`. The outer model's own name is left out.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built.
    """
    _check(model)
    yield from _walk(model, "", set())


def trace(model: keras.Model) -> Trace:
    """Lists every step of a model in the order of the graph, with the shapes that it sees.

    A shared layer appears once for each call. The layers of a nested model see the shapes that the
    outer graph gives it.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built.
    """
    paths = {id(layer): path for path, layer in leaf_layers(model)}
    calls = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        nested = is_graph(operation)
        outputs = None if nested else operation.compute_output_spec(*args, **kwargs)
        path = paths.get(id(operation), "")
        flat = [] if nested else keras.tree.flatten(outputs)
        calls.append(Call(path, operation, args, kwargs, flat))
        return replay(operation, args[0], call) if nested else outputs

    inputs = inputs_of(model)
    outputs = replay(model, inputs, call)
    return Trace(keras.tree.flatten(inputs), calls, keras.tree.flatten(outputs))


def run_steps(model: keras.Model, arrays: Sequence[Any], wanted: Sequence[bool]) -> list[list[Any]]:
    """Runs some steps of a model, at inference; returns what each gives, flat.

    Args:
        model: Functional or Sequential.
        arrays: One for each input.
        wanted: For each step, as `trace` lists them, whether it is run. What it reads is an input,
            or comes from a step that is.

    Returns:
        One list for each step; empty where it is not run.
    """
    calls = iter(zip(trace(model).calls, wanted, strict=True))
    results: list[list[Any]] = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        step, run = next(calls)
        results.append([])
        if is_graph(operation):
            return replay(operation, args[0], call)
        if not run:
            return [None] * len(step.outputs) if len(step.outputs) != 1 else None
        values = results[-1]
        outputs = infer(operation, *args, **kwargs)
        values += keras.tree.flatten(outputs)
        return outputs

    structure = inputs_of(model)
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    replay(model, keras.tree.pack_sequence_as(structure, tensors), call)
    return results


def check_ties(model: keras.Model) -> None:
    """Refuses a model whose copy would read weights of the original.

    Raises:
        ValueError: A function within a layer reads another layer's weights.
    """
    found = dict(leaf_layers(model))
    if any(map(ties.may_hide, found.values())):  # else there is nothing to trace for
        ties.refuse_hidden(found, trace(model).calls)


def inputs_of(graph: keras.Model) -> Any:
    """Returns the symbolic inputs of a Functional or Sequential model, in their structure."""
    # A Sequential model knows its `input` only once it is called within another model.
    return graph.inputs[0] if isinstance(graph, keras.Sequential) else graph.input


def nested_graphs(model: keras.Model) -> Iterator[keras.Model]:
    """Walks the Functional and Sequential models within a model, at any depth."""
    for layer in model.layers:
        if is_graph(layer):
            yield layer
            yield from nested_graphs(layer)


def output_names(graph: keras.Model) -> list[str]:
    """Returns the names of the outputs of a Functional or Sequential model, as Keras has them."""
    # A Sequential model has none: its output is that of its last layer.
    named = isinstance(graph, keras.Sequential)
    return [graph.layers[-1].name] if named else list(graph.output_names)


def is_graph(operation: Any) -> bool:
    """Returns whether a step is a nested model, whose own steps are in the graph."""
    # A class outside Keras has methods of its own, which a rebuilt graph would lose.
    return (
        isinstance(operation, keras.Model)
        and isinstance(operation, (keras.Sequential, keras.Function))
        and type(operation).__module__.startswith("keras.")
    )


def _check(model: keras.Model) -> None:
    """Refuses what cannot be replayed."""
    if not is_graph(model):
        raise TypeError(
            f"model: got {type(model).__name__}, a class of its own; expected a Functional or "
            "Sequential model. Where it has a graph, compress.functional(model) gives it, without "
            "the methods of the class."
        )
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError(f"model: {model.name!r} is not built; give it a keras.Input first.")


def _walk(
    model: keras.Model, prefix: str, seen: set[int]
) -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        if id(layer) in seen or isinstance(layer, keras.layers.InputLayer):
            continue
        seen.add(id(layer))
        if is_graph(layer):
            yield from _walk(layer, f"{prefix}{layer.name}/", seen)
        else:
            yield prefix + layer.name, layer


def infer(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns what a step of a graph gives at inference, as in `model(x, training=False)`.

    Called outside of a model's own call, `RandomFlip` and its kin change pictures as in training:
    that is their default.

    Args:
        operation: A layer, or an operation of `keras.ops`.
        *args: What it is called with.
        **kwargs: Likewise, by name; of a layer, `training` is false whatever is said here.
    """
    if isinstance(operation, keras.layers.Layer):
        kwargs["training"] = False  # Keras leaves it out where `call` does not take it
    return operation(*args, **kwargs)


def replay(model: keras.Model, inputs: Any, call: Callable[..., Any]) -> Any:
    """Runs the graph on `inputs`, with `call(operation, *args, **kwargs)` for each operation.

    A `call` that computes values does so by `infer`.
    """
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = call(layer, inputs)
        return inputs
    # Keras infers shapes and clones models by this method; it has no public name.
    return model._run_through_graph(inputs, operation_fn=lambda operation: partial(call, operation))
