"""A model's graph with other ends or types: without a softmax at its end, in float32.

A graph that was rewritten is another model until it has been compared with the user's own: that
does `export.sameness`, before anything is written.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from export.names import OWN_NAME, called
from zoo.common.names import SCOPE, scope_names, spelt
from zoo.common.reading import one_line

HALF = ("float16", "bfloat16")


def without_softmax(net: keras.Model) -> tuple[keras.Model, list[str]]:
    """Returns a model of logits where `net` ends in a softmax, and the names of those outputs.

    In 8 bits the shares of a thousand classes are nearly all zero; the winner is the same. The
    layers are shared, but for a last one whose activation the softmax is. A softmax stays that is
    called with a mask, that is not over the last axis, or whose shares are used in the graph too.

    Args:
        net: What `prepare` returned.
    """
    names, tensors = list(net.output), list(net.output.values())
    found, cut = _logits(net, tensors, range(len(tensors)))
    if not cut:
        return net, []
    outputs = {name: found.get(place, tensors[place]) for place, name in enumerate(names)}
    return keras.Model(net.inputs, outputs, name=net.name), [names[place] for place in sorted(cut)]


def _logits(
    net: keras.Model, outputs: Sequence[Any], wanted: Iterable[int]
) -> tuple[dict[int, Any], set[int]]:
    """The tensors to put in the place of some outputs, and the places where they are logits."""
    nodes = [node for depth in net._nodes_by_depth.values() for node in depth]
    read = {id(tensor) for node in nodes for tensor in node.arguments.keras_tensors}
    calls = Counter(id(node.operation) for node in nodes)
    places = set(wanted)
    found: dict[int, Any] = {}
    cut: set[int] = set()
    inside: dict[int, tuple[Any, list[int]]] = {}  # places of the outputs of a nested model
    for place, tensor in enumerate(outputs):
        layer, index, _ = tensor._keras_history
        node = layer._inbound_nodes[index]
        same = {other for other, one in enumerate(outputs) if one is tensor}
        if id(tensor) in read or not same <= places or not _is_plain(node):
            continue
        if _graph(layer) is not None:
            inside.setdefault(id(node), (node, []))[1].append(place)
        elif (logits := _before(layer, node, again=calls[id(layer)] > 1)) is not None:
            found[place] = found.get(min(same), logits)
            cut.add(place)
    for node, around in inside.values():
        graph = _graph(node.operation)
        if calls[id(node.operation)] > 1 or read & {id(tensor) for tensor in node.output_tensors}:
            continue
        inner = {place: outputs[place]._keras_history.tensor_index for place in around}
        ends, inner_cut = _logits(graph, graph.outputs, set(inner.values()))
        if not inner_cut:
            continue
        new = [ends.get(place, tensor) for place, tensor in enumerate(graph.outputs)]
        twin = keras.Model(graph.input, new, name=node.operation.name)
        tensors = keras.tree.flatten(twin(node.arguments.args[0]))
        for place, tensor in enumerate(outputs):  # also those that nobody wanted cut
            if any(tensor is one for one in node.output_tensors):
                found[place] = tensors[tensor._keras_history.tensor_index]
        cut |= {place for place, index in inner.items() if index in inner_cut}
    return found, cut


def _before(layer: Any, node: Any, *, again: bool) -> Any:
    """What a softmax made of it is given, or `None` where the layer is something else.

    Args:
        layer: The layer that made an output.
        node: Its call.
        again: Whether it is called elsewhere too.
    """
    (given,) = node.arguments.args
    if isinstance(layer, keras.layers.Softmax):
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        return given if list(axes) in ([-1], [len(given.shape) - 1]) else None
    if getattr(layer, "activation", None) is not keras.activations.softmax:
        return None
    if type(layer) is keras.layers.Activation:
        return given
    if again or type(layer) not in (
        keras.layers.Dense,
        keras.layers.Conv1D,
        keras.layers.Conv2D,
    ):
        return None
    if getattr(layer, "data_format", None) == "channels_first":
        return None
    linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    logits = linear(given)
    linear.set_weights(layer.get_weights())
    setattr(linear, OWN_NAME, called(layer))
    return logits


def _is_plain(node: Any) -> bool:
    """Whether a layer is called with its inputs and nothing else."""
    arguments = node.arguments
    return len(arguments.args) == 1 and all(
        value is None or (name == "training" and value is False)
        for name, value in arguments.kwargs.items()
    )


def _graph(layer: Any) -> Any:
    """The graph of a nested model that does what its graph says; `None` of any other layer."""
    if not isinstance(layer, keras.Model) or not type(layer).call.__module__.startswith("keras."):
        return None
    graph = getattr(layer, "_functional", None) or layer  # a Sequential model keeps it inside
    return graph if hasattr(graph, "_nodes_by_depth") else None


def follows_its_graph(model: keras.Model) -> bool:
    """Whether calling a model does what its graph says: its class has no `call` of its own."""
    return _graph(model) is not None


def has_half(model: keras.Model) -> bool:
    """Whether a layer computes in half precision."""
    return any(layer.compute_dtype in HALF for layer in model._flatten_layers(include_self=False))


def is_rebuilt(model: keras.Model) -> bool:
    """Whether `built_again` has something to change, precision or names."""
    return has_half(model) or bool(_new_names(model))


def built_again(model: keras.Model) -> keras.Model:
    """Builds the graph again in float32, with names that the scopes of a graph bear.

    Every half-precision policy is replaced. The layers are others, of the same weights.

    Raises:
        RuntimeError: The graph cannot be built again, or has other weights then.
    """

    def rebuild(layer: Any) -> Any:
        return type(layer).from_config(_float32_config(layer.get_config()))

    try:
        clone = keras.models.clone_model(model, clone_function=rebuild, recursive=True)
        pairs = zip(clone._flatten_layers(), model._flatten_layers(), strict=True)
        for new, old in pairs:
            _copy_state(old, new)
        names = _new_names(model)
        for layer in clone._flatten_layers():
            if layer.name in names:
                setattr(layer, OWN_NAME, layer.name)
                layer.name = names[layer.name]
        for weight in clone.variables:
            if not _fits(weight.path):
                _rename(weight)
    except Exception as error:  # whatever a layer's own code raises
        reason = (
            "computes in half precision and cannot be built again in float32"
            if has_half(model)
            else f"has names that TensorFlow has not ({', '.join(map(repr, _new_names(model)))})"
            " and cannot be built again with others"
        )
        raise RuntimeError(
            f"export: the model {reason} ({one_line(error)}). Build it in float32, with names of"
            " ASCII that begin with a letter, and with the same weights."
        ) from error
    return clone


def _new_names(model: keras.Model) -> dict[str, str]:
    """New names by old ones, of the layers, and of the weights, by the parts of their paths."""
    layers = model._flatten_layers()
    entries = {one.name for one in layers if isinstance(one, keras.layers.InputLayer)}
    others = [one.name for one in model._flatten_layers() if one.name not in entries]
    parts = [part for weight in model.variables for part in weight.path.split("/")]
    return scope_names([*others, *parts], entries)


def _fits(path: str) -> bool:
    return all(SCOPE.fullmatch(part) for part in path.split("/"))


def _rename(weight: Any) -> None:
    """Gives a weight another variable of TensorFlow: a file's graph has that one's name in it."""
    name = "/".join(spelt(part) for part in weight.path.split("/"))
    weight._value = tf.Variable(weight.value, trainable=weight.trainable, name=name)


def _copy_state(old: Any, new: Any) -> None:
    """Copies a layer's own weights and tables, and what it makes of them."""
    if hasattr(old, "save_own_variables") and not isinstance(old, keras.Model):
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        if store:
            new.load_own_variables(store)
    if getattr(old, "save_assets", None) and not hasattr(old, "_functional"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def _float32_config(config: Any) -> Any:
    """Replaces half-precision policies, also those of the layers inside a wrapper."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            name = config["config"]["name"]
            return "float32" if name.endswith(HALF) else config
        return {key: _float32_config(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_float32_config(value) for value in config]
    return config
