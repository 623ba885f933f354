"""Weights that several layers read: a rebuilt graph keeps such a tie, or it is refused.

    a layer that holds another layer     its copy holds the other's copy
    a step that is given a variable      it is given the copy's
    a function that reads a layer        refused: what stands within a function cannot be exchanged

A layer of the user's own, and a `Lambda`, are asked what they read: they are called on zeros, or as
a graph without values. Of one that bears neither a warning says that what it reads is not known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import keras
from keras import ops

from zoo.common.reading import one_line

LOG = logging.getLogger("compress")
_TOLD: set[Any] = set()  # layers of which a warning was given: a graph is rebuilt many times


def tied(layers: Mapping[str, keras.layers.Layer]) -> dict[int, list[str]]:
    """Returns the variables that several layers have: by id, the paths of the layers.

    Args:
        layers: The leaf layers of a model by path.
    """
    owners: dict[int, list[str]] = {}
    for path, layer in layers.items():
        for variable in layer.variables:
            owners.setdefault(id(variable), []).append(path)
    return {key: paths for key, paths in owners.items() if len(paths) > 1}


def tied_paths(layers: Mapping[str, keras.layers.Layer]) -> set[str]:
    """Returns the paths of the layers that share a variable with another one."""
    return {path for paths in tied(layers).values() for path in paths}


def sharing(layers: Mapping[str, keras.layers.Layer], path: str) -> list[str]:
    """Returns the paths of the layers that share a variable with the one at a path."""
    found = [paths for paths in tied(layers).values() if path in paths]
    return list(dict.fromkeys(other for paths in found for other in paths if other != path))


def refuse_replaced(layers: Mapping[str, keras.layers.Layer], replaced: Iterable[str]) -> None:
    """Refuses to replace a layer whose weights another one reads.

    Raises:
        ValueError: A path in `replaced` is that of such a layer.
    """
    gone = set(replaced)
    for paths in tied(layers).values():
        if gone & set(paths):
            first, second = paths[:2]
            raise ValueError(
                f"layers {first!r} and {second!r} share weights, which would part if one of them "
                f"were replaced; leave both out: skip: [{first}, {second}]."
            )


def refuse_hidden(layers: Mapping[str, keras.layers.Layer], calls: Iterable[Any]) -> None:
    """Refuses functions that read another layer's weights.

    Args:
        layers: The leaf layers of a model by path.
        calls: The steps of its graph.

    Raises:
        ValueError: There is one.
    """
    owners = {id(v): path for path, layer in layers.items() for v in layer.variables}
    seen: set[str] = set()
    for call in calls:
        if not call.path or call.path in seen or not may_hide(call.operation):
            continue
        seen.add(call.path)
        own = {id(variable) for variable in call.operation.variables}
        for variable in _read_by(call):
            owner = owners.get(id(variable), "")
            if id(variable) not in own and owner and owner != call.path:
                raise ValueError(
                    f"layer {call.path!r} ({type(call.operation).__name__}) reads "
                    f"{variable.name!r} of layer {owner!r} from within a function: a copy would "
                    "read the old one. Write it as a layer that holds the other layer: "
                    "`self.other = other`."
                )


def exchange(
    old: keras.layers.Layer, new: keras.layers.Layer, twin: Callable[[Any], Any | None]
) -> None:
    """Gives a copied layer the copies of those layers of the graph that its original holds.

    Args:
        old: The original.
        new: Its copy, not yet built.
        twin: Returns the copy of a layer of the graph; None for any other value.
    """
    for name, value in vars(old).items():
        if name.startswith("_inbound") or name in ("_layers", "_tracker"):
            continue
        if isinstance(value, keras.layers.Layer):
            found = twin(value)
            if found is not None:
                _put(new, name, found)
        elif isinstance(value, (list, tuple)) and any(_is_of(x, twin) for x in value):
            parts = getattr(new, name, value)
            for part in parts:
                if isinstance(part, keras.layers.Layer):
                    new._tracker.untrack(part)
            pairs = zip(value, parts, strict=True)
            setattr(new, name, [twin(x) if _is_of(x, twin) else own for x, own in pairs])


def check_kept(
    layers: Mapping[str, keras.layers.Layer], copies: Mapping[str, keras.layers.Layer]
) -> None:
    """Refuses a rebuilt graph in which a tie has parted.

    Args:
        layers: The leaf layers of a model by path.
        copies: Their copies.

    Raises:
        ValueError: A variable of several layers has become several.
    """
    ties = tied(layers)
    found: dict[int, tuple[str, int]] = {}
    for path, layer in layers.items() if ties else ():
        if path not in copies:
            continue
        for old, new in zip(layer.variables, copies[path].variables, strict=True):
            if id(old) not in ties:
                continue
            first, key = found.setdefault(id(old), (path, id(new)))
            if key != id(new):
                raise ValueError(
                    f"layers {first!r} and {path!r} share the weight {old.name!r}, and a copy of "
                    "the model would part them; expected a layer that holds the other one as an "
                    "attribute: `self.other = other`."
                )


def _put(new: keras.layers.Layer, name: str, value: keras.layers.Layer) -> None:
    stale = getattr(new, name, None)
    if stale is value:
        return
    if stale is not None:
        new._tracker.untrack(stale)
    setattr(new, name, value)


def _is_of(value: Any, twin: Callable[[Any], Any | None]) -> bool:
    return isinstance(value, keras.layers.Layer) and twin(value) is not None


def may_hide(layer: Any) -> bool:
    """Returns whether a layer computes by code that is not known, and may read what it will."""
    own = type(layer).__module__.split(".")[0] not in ("keras", "compress", "zoo")
    return own or isinstance(layer, keras.layers.Lambda)


class _Reads(keras.StatelessScope):
    """Notes which variables are read; what is assigned within it is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, keras.Variable] = {}

    def get_current_value(self, variable: Any) -> Any:
        self.found[id(variable)] = variable
        return super().get_current_value(variable)


def _read_by(call: Any) -> list[keras.Variable]:
    """The variables that a step reads; what it cannot be called on may still show some of them."""
    errors: list[str] = []
    found: dict[int, keras.Variable] = {}
    for ask in (partial(_on_values, ops.zeros), on_no_values, partial(_on_values, ops.ones)):
        with _Reads() as reads:
            try:
                ask(call)
                errors = []
            except Exception as error:  # of the user's own code, which may want other values
                errors.append(one_line(error))
        found |= reads.found
        if not errors:
            break
    key = (type(call.operation), call.path)
    if errors and key not in _TOLD:
        _TOLD.add(key)
        LOG.warning(
            "layer %r (%s) cannot be called on zeros (%s), so what it reads is not known. If it "
            "reads another layer's weights by a function, a compressed model would read the old "
            "ones: write it as a layer that holds the other layer, `self.other = other`.",
            call.path,
            type(call.operation).__name__,
            errors[0],
        )
    return list(found.values())


def _on_values(make: Callable[..., Any], call: Any) -> None:
    """Calls a step on numbers, with a batch of one."""

    def value(x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            return x
        return make([size or 1 for size in x.shape], x.dtype)

    args, kwargs = keras.tree.map_structure(value, (call.args, call.kwargs))
    call.operation(*args, **kwargs)


def on_no_values(call: Any) -> None:
    """Calls a step as a graph of TensorFlow, where no value can be a wrong one; a batch of one."""
    import tensorflow as tf

    given = keras.tree.flatten((call.args, call.kwargs))
    kinds = [isinstance(x, keras.KerasTensor) for x in given]
    specs = [
        tf.TensorSpec([size or 1 for size in x.shape], x.dtype)
        for x, is_tensor in zip(given, kinds, strict=True)
        if is_tensor
    ]

    @tf.function
    def step(*tensors: Any) -> None:
        rest = iter(tensors)
        flat = [next(rest) if own else x for x, own in zip(given, kinds, strict=True)]
        args, kwargs = keras.tree.pack_sequence_as((call.args, call.kwargs), flat)
        call.operation(*args, **kwargs)

    step.get_concrete_function(*specs)
