"""A plain graph of a model whose class is its own, where Keras keeps its graph all the same."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import keras

from compress.graph.anew import tell_what_is_taken
from compress.graph.graph import inputs_of

LOG = logging.getLogger("compress")
_STEPS = ("train_step", "test_step", "compute_loss", "compute_metrics")  # what `fit` asks a model


def functional(model: keras.Model) -> keras.Model:
    """Returns a plain Functional model of one that is a class of its own but has a graph.

    So are the models of KerasHub, and others that end `__init__` with
    `super().__init__(inputs=..., outputs=...)`. Models of that kind within the graph become plain
    too. The layers are shared; what the class adds, e.g. a tokenizer or a `train_step`, is left
    behind, and so is how the model was compiled; a warning says so.

        model = keras_hub.models.ImageClassifier(backbone, num_classes=10)
        small = compress.apply("int8", compress.functional(model), samples=images[:200])

    Args:
        model: Any Keras model; one that is plain already is given back as it is.

    Raises:
        TypeError: The model has no graph, only code: its `call` is its own. Build it by
            `keras.Model(inputs, outputs)`.
    """
    if _is_plain(model) and not any(map(_has_hidden_graph, model.layers)):
        return model
    if not _is_plain(model) and not _has_hidden_graph(model):
        raise TypeError(
            f"functional: got {type(model).__name__}, which computes by code of its own and has no "
            "graph; expected a model that keras.Model(inputs, outputs) builds."
        )
    own = [name for name in _STEPS if not _is_keras(_definer(model, name))]
    if own:
        LOG.warning(
            "functional: %s of %s stays behind: train the graph by a `fit` of your own, or "
            "between `compress.prepare` and `compress.finish`.",
            " and ".join(own),
            type(model).__name__,
        )
    elif model.compiled:
        LOG.warning(
            "functional: how %r was compiled stays behind: compile what is returned.", model.name
        )
    twins: dict[int, keras.Model] = {}

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Function) and isinstance(operation, keras.Model):
            operation = twins.setdefault(id(operation), functional(operation))
        tell_what_is_taken(operation)
        return operation(*args, **kwargs)

    if isinstance(model, keras.Sequential):
        layers = [functional(x) if isinstance(x, keras.Function) else x for x in model.layers]
        return keras.Sequential([inputs_of(model), *layers], name=model.name)
    # Keras clones models by this method; it has no public name.
    outputs = model._run_through_graph(
        model.input, operation_fn=lambda operation: partial(call, operation)
    )
    return keras.Model(model.input, outputs, name=model.name, trainable=model.trainable)


def _is_plain(model: Any) -> bool:
    kinds = (keras.Sequential, keras.Function)
    return isinstance(model, kinds) and type(model).__module__.startswith("keras.")


def _has_hidden_graph(model: Any) -> bool:
    """Whether a class of its own has a graph, which is what it computes."""
    if not isinstance(model, keras.Function) or _is_plain(model):
        return False
    return _is_keras(_definer(model, "call"))


def _definer(model: Any, name: str) -> type:
    """The class that a method of a model comes from."""
    return next(kind for kind in type(model).__mro__ if name in vars(kind))


def _is_keras(kind: type) -> bool:
    return kind.__module__.startswith("keras.")
