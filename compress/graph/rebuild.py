"""Graphs built again: copied, with layers made anew, or with some of them replaced.

`keras.models.clone_model` stops at nested models, forgets optional inputs, and unties what layers
share; these functions do not (see `ties`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from compress.graph import ties
from compress.graph.anew import made_anew
from compress.graph.graph import (
    check_ties,
    inputs_of,
    is_graph,
    leaf_layers,
    nested_graphs,
    replay,
)
from zoo.common.settings import nearest

Replacement: TypeAlias = keras.layers.Layer | Sequence[keras.layers.Layer]


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
    return _rebuilt(model, {}, {}, change, _copy_weights)


def replace_layers(
    model: keras.Model,
    replacements: Mapping[str | keras.layers.Layer, Replacement | None],
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
            keep their weights. `None` gives on what the layer was given.
        behind: Maps an operation of the graph, inputs among them, to a new layer through which its
            output goes, in every call.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built, a path is unknown, or a last replacement has another name.
    """
    layers = dict(leaf_layers(model))
    twins = _resolve(layers, replacements)
    ties.refuse_replaced(layers, (path for path, layer in layers.items() if id(layer) in twins))
    added = {id(operation): (layer,) for operation, layer in (behind or {}).items()}
    return _rebuilt(model, twins, added, made_anew, _copy_state)


def _rebuilt(
    model: keras.Model,
    twins: dict[int, Sequence[Any]],
    added: Mapping[int, Sequence[keras.layers.Layer]],
    make: Callable[[Any], Any],
    fill: Callable[[Any, Any], None],
) -> keras.Model:
    """Rebuilds a model.

    Args:
        model: Stays as it is.
        twins: What takes the place of some operations, by id; the others are added.
        added: What stands behind some operations, by id.
        make: Returns a layer that is like another one.
        fill: Copies the weights from a layer to such another.
    """
    layers = dict(leaf_layers(model))
    kept = {path: layer for path, layer in layers.items() if id(layer) not in twins}
    known = {id(layer) for layer in layers.values()}
    known |= set(map(id, nested_graphs(model)))
    owners = {id(v): layer for layer in layers.values() for v in layer.variables}
    check_ties(model)

    def twin(operation: Any) -> Sequence[Any]:
        if id(operation) not in twins:
            if is_graph(operation):
                new = rebuild(operation)
            elif isinstance(operation, keras.layers.Layer):
                new = make(operation)
                ties.exchange(operation, new, held)
            else:
                new = made_anew(operation)
            if any(layer.name == new.name for layer in added.get(id(operation), ())):
                new.name = f"{new.name}_inner"  # an output: what stands behind it has its name
            twins[id(operation)] = (new,)
        return twins[id(operation)]

    def held(layer: Any) -> Any:
        return twin(layer)[-1] if id(layer) in known else None

    def given(value: Any) -> Any:
        """What a step is called with; of a variable, the new one."""
        owner = owners.get(id(value)) if isinstance(value, keras.Variable) else None
        if owner is None:
            return value
        (new,) = twin(owner)
        places = [id(variable) for variable in owner.variables]
        return new.variables[places.index(id(value))]

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(given, (args, kwargs))
        if not twin(operation):
            return args[0]
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
        return keras.Model(inputs, replay(graph, entered, call), **names)

    new_model = rebuild(model)
    copies = {path: twins[id(layer)][0] for path, layer in kept.items()}
    for path, layer in kept.items():
        if len(layer.weights) != len(copies[path].weights):
            shared = " and ".join(map(repr, ties.sharing(layers, path)))
            raise ValueError(
                f"layer {path!r} ({type(layer).__name__})"
                f"{f', which shares weights with {shared}' if shared else ''}: its copy has "
                f"{len(copies[path].weights)} weights; expected {len(layer.weights)}, as "
                "`from_config(get_config())` is to make them."
            )
        _copy_frozen(layer, copies[path])
        fill(layer, copies[path])
    ties.check_kept(layers, copies)
    return new_model


def _resolve(
    layers: Mapping[str, keras.layers.Layer],
    replacements: Mapping[str | keras.layers.Layer, Replacement | None],
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
        new = (value,) if isinstance(value, keras.layers.Layer) else tuple(value or ())
        if value is not None and (not new or new[-1].name != old.name):
            raise ValueError(
                f"replace_layers: {old.name!r} becomes {[layer.name for layer in new]}; "
                f"expected the last one to be named {old.name!r}."
            )
        resolved[id(old)] = new
    return resolved


def _new_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return made_anew(tensor._keras_history.operation).output


def _copy_weights(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    for old, new in zip(source.weights, target.weights, strict=True):
        new.assign(keras.ops.convert_to_numpy(old))


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


def _copy_frozen(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Freezes what is frozen, parts of a layer and single weights too: no settings say that."""
    parts = zip(source._flatten_layers(), target._flatten_layers(), strict=False)
    for old_part, new_part in parts:
        if old_part.trainable != new_part.trainable:
            new_part.trainable = old_part.trainable
    for old, new in zip(source.weights, target.weights, strict=True):
        if old.trainable != new.trainable:
            new.trainable = old.trainable
