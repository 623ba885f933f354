"""The only two ways to touch a graph: walk its leaf layers, or rebuild it with replacements.

A leaf is a layer that is not itself a Functional or Sequential model. `model.layers` stops at
nested models; so does `keras.models.clone_model`, which also forgets optional inputs. These
functions do not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import keras

from zoo.common.settings import nearest

Replacement: TypeAlias = keras.layers.Layer | Sequence[keras.layers.Layer]


class Call(NamedTuple):
    """One step of a graph.

    Attributes:
        path: Path of a leaf layer; empty for a nested model, or an operation of `keras.ops`.
        operation: The layer, the nested model, or the operation.
        arguments: What it is called with, flat, constants among the symbolic tensors.
        outputs: Flat; of a nested model none, because its own steps follow.
    """

    path: str
    operation: Any
    arguments: list[Any]
    outputs: list[keras.KerasTensor]

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
        nested = _is_graph(operation)
        outputs = None if nested else operation.compute_output_spec(*args, **kwargs)
        arguments = keras.tree.flatten((args, kwargs))
        path = paths.get(id(operation), "")
        calls.append(
            Call(path, operation, arguments, [] if nested else keras.tree.flatten(outputs))
        )
        return _replay(operation, args[0], call) if nested else outputs

    inputs = inputs_of(model)
    outputs = _replay(model, inputs, call)
    return Trace(keras.tree.flatten(inputs), calls, keras.tree.flatten(outputs))


def copy_model(model: keras.Model) -> keras.Model:
    """Returns a model of equal graph, names and weights that shares no variable with `model`.

    The copy is not compiled.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built.
    """
    return replace_layers(model, {})


def map_layers(
    model: keras.Model, change: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """Rebuilds a model with every leaf layer made anew by `change`, with the old weights.

    The states of random generators are fresh; the new model is not compiled.

    Args:
        model: A built Functional or Sequential model; it stays as it is.
        change: Returns a new layer of the same name and the same weights, not yet built.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built.
    """
    pairs = [(layer, change(layer)) for _, layer in leaf_layers(model)]
    new_model = replace_layers(model, dict(pairs))
    for old, new in pairs:
        for source, target in zip(old.weights, new.weights, strict=True):
            target.assign(keras.ops.convert_to_numpy(source))
    return new_model


def replace_layers(
    model: keras.Model,
    replacements: Mapping[str | keras.layers.Layer, Replacement],
    *,
    behind: Mapping[Any, keras.layers.Layer] | None = None,
) -> keras.Model:
    """Rebuilds a model with some of its leaf layers replaced; the input model stays as it is.

    The other layers are copied, with their weights and random states. The new model is not
    compiled.

    Args:
        model: A built Functional or Sequential model.
        replacements: Maps a leaf layer, or its path, to a new layer or to several, applied in turn.
            The first gets the arguments of the old layer's call, the others one tensor. The last
            has the old layer's name, so that paths and output names stay. Layers built beforehand
            keep their weights.
        behind: Maps an operation of the graph, inputs among them, to a new layer through which its
            output goes, in every call.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built, a path is unknown, or a last replacement has another name.
    """
    layers = dict(leaf_layers(model))
    twins = _resolve(layers, replacements)
    kept = [layer for layer in layers.values() if id(layer) not in twins]
    added = {id(operation): (layer,) for operation, layer in (behind or {}).items()}

    def twin(operation: Any) -> Sequence[Any]:
        if id(operation) not in twins:
            new = rebuild(operation) if _is_graph(operation) else _clone(operation)
            if any(layer.name == new.name for layer in added.get(id(operation), ())):
                new.name = f"{new.name}_inner"  # an output: what stands behind it has its name
            twins[id(operation)] = (new,)
        return twins[id(operation)]

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        first, *rest = twin(operation)
        if type(first) is not type(operation):  # it need not know what is left out, e.g. a mask
            kwargs = {name: value for name, value in kwargs.items() if value is not None}
        x = first(*args, **kwargs)
        for layer in (*rest, *added.get(id(operation), ())):
            x = layer(x)
        return x

    def enter(old: keras.KerasTensor, new: keras.KerasTensor) -> Any:
        (layer,) = added.get(id(old._keras_history.operation), (None,))
        return new if layer is None else layer(new)

    def rebuild(graph: keras.Model) -> keras.Model:
        names = {"name": graph.name, "trainable": graph.trainable}
        inputs = keras.tree.map_structure(_new_input, inputs_of(graph))
        if isinstance(graph, keras.Sequential):
            first = added.get(id(inputs_of(graph)._keras_history.operation), ())
            parts = [(*twin(layer), *added.get(id(layer), ())) for layer in graph.layers]
            chain = [layer for part in (first, *parts) for layer in part]
            return keras.Sequential([inputs, *chain], **names)
        entered = keras.tree.map_structure(enter, inputs_of(graph), inputs)
        return keras.Model(inputs, _replay(graph, entered, call), **names)

    new_model = rebuild(model)
    for layer in kept:
        _copy_state(layer, twins[id(layer)][0])
    return new_model


def inputs_of(graph: keras.Model) -> Any:
    """Returns the symbolic inputs of a Functional or Sequential model, in their structure."""
    # A Sequential model knows its `input` only once it is called within another model.
    return graph.inputs[0] if isinstance(graph, keras.Sequential) else graph.input


def _is_graph(operation: Any) -> bool:
    # A class outside Keras has methods of its own, which a rebuilt graph would lose.
    return (
        isinstance(operation, keras.Model)
        and isinstance(operation, (keras.Sequential, keras.Function))
        and type(operation).__module__.startswith("keras.")
    )


def _check(model: keras.Model) -> None:
    """Refuses what cannot be replayed."""
    if not _is_graph(model):
        raise TypeError(
            f"model: got {type(model).__name__}, a class of its own; expected a Functional or "
            "Sequential model. Where there is a graph, pass keras.Model(model.input, model.output)."
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
        if _is_graph(layer):
            yield from _walk(layer, f"{prefix}{layer.name}/", seen)
        else:
            yield prefix + layer.name, layer


def _replay(model: keras.Model, inputs: Any, call: Callable[..., Any]) -> Any:
    """Runs the graph on `inputs`, with `call(operation, *args, **kwargs)` for each operation."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = call(layer, inputs)
        return inputs
    # Keras infers shapes and clones models by this method; it has no public name.
    return model._run_through_graph(inputs, operation_fn=lambda operation: partial(call, operation))


def _resolve(
    layers: Mapping[str, keras.layers.Layer],
    replacements: Mapping[str | keras.layers.Layer, Replacement],
) -> dict[int, Sequence[Any]]:
    """Maps the id of each replaced layer to its replacements."""
    known = {id(layer) for layer in layers.values()}
    resolved: dict[int, Sequence[Any]] = {}
    for key, value in replacements.items():
        if isinstance(key, str) and key not in layers:
            raise ValueError(f"replace_layers: no layer {key!r}. {nearest(key, layers)}")
        old = layers[key] if isinstance(key, str) else key
        if id(old) not in known:
            raise ValueError(f"replace_layers: {old.name!r} is not a leaf layer of this model.")
        new = (value,) if isinstance(value, keras.layers.Layer) else tuple(value)
        if not new or new[-1].name != old.name:
            raise ValueError(
                f"replace_layers: {old.name!r} becomes {[layer.name for layer in new]}; "
                f"expected the last one to be named {old.name!r}."
            )
        resolved[id(old)] = new
    return resolved


def _clone(operation: Any) -> Any:
    return type(operation).from_config(operation.get_config())


def _new_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return _clone(tensor._keras_history.operation).output


def _copy_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies all variables, random states among them, and what some layers keep beside them."""
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old)
    if hasattr(source, "save_assets"):  # vocabularies
        with tempfile.TemporaryDirectory() as folder:
            source.save_assets(folder)
            target.load_assets(folder)
    if hasattr(target, "finalize_state"):  # normalisation keeps constants made from its variables
        target.finalize_state()
