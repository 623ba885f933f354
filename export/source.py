"""From any Functional or Sequential model to the one form that targets write.

That form is float32, has named inputs and outputs, and runs in inference mode only. Keras' own
`model.export` is not used: it leaves random augmentation live, keeps half precision, and names
tensors `keras_tensor` and `output_0`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export.examples import WORDS, Arrays, in_batches
from export.manifest import Signature, TensorSpec
from export.names import called, input_names, output_names
from export.recurrent import Writer, written_as
from export.rewrite import built_again, is_rebuilt
from export.tracing import plain_winners
from zoo.common.names import scope_names

NUM_WORDS = 100  # of a table, that texts are drawn from


def functional(model: keras.Model, inputs: Any) -> keras.Model:
    """Returns a Functional model that calls a subclassed one.

    Args:
        model: Any model; its `call` takes one tensor, or a list or dict of them.
        inputs: A `keras.Input`, or a list or dict of them, as `model` takes them.
    """
    return keras.Model(inputs, model(inputs), name=model.name)


def prepare(
    model: keras.Model, *, apart: bool = False, plain_names: bool = False
) -> tuple[keras.Model, Signature]:
    """Returns the model in the form that targets write, and its signature.

    The returned model takes a list of inputs and returns a dict of named outputs. It shares the
    given model's layers, unless some of them compute in half precision or are called as no scope of
    a TensorFlow graph can be: then the graph is built again with the same weights.

    Args:
        model: A Functional or a built Sequential model.
        apart: Whether no output may be called as an input is.
        plain_names: Whether names are of ASCII, a letter first, those of outputs too.

    Raises:
        RuntimeError: A layer keeps a state between calls, or cannot be built again.
        TypeError: `model` is not a built Functional or Sequential model.
        ValueError: A weight is NaN or infinite, or an output is not of examples.
    """
    if not isinstance(model, keras.Model) or not _inputs(model):
        hint = " Wrap a subclassed one: export.functional(model, keras.Input(...))."
        raise TypeError(
            f"export: got {type(model).__name__}; expected a Functional model or a built Sequential"
            f" one, whose inputs are known.{hint if isinstance(model, keras.Model) else ''}"
        )
    _check_finite(model)
    _refuse_state(model)
    _check_batch(model)
    entries, exits = own_names(model)
    plain = keras.Model(list(model.inputs), list(model.outputs))
    if is_rebuilt(plain):
        plain = built_again(plain)
    inputs = input_names(entries, exits, plain=plain_names)
    outputs = dict(
        zip(output_names(exits, inputs, apart=apart, plain=plain_names), plain.outputs, strict=True)
    )
    name = scope_names([model.name]).get(model.name, model.name)
    net = keras.Model(plain.inputs, outputs, name=name)
    return net, Signature(
        inputs=_specs(inputs, plain.inputs), outputs=_specs(list(outputs), outputs.values())
    )


def own_names(model: keras.Model) -> tuple[list[str], list[str]]:
    """Returns the model's own names of its inputs and of its outputs, in their order.

    Those are the keys of a model that takes or returns a mapping, else the names of the input
    tensors and of the layers that make the outputs.
    """
    found = []
    for struct in (getattr(model, "input", None), getattr(model, "output", None)):
        keys = isinstance(struct, dict) and keras.tree.flatten_with_path(struct)
        found.append(["_".join(map(str, path)) for path, _ in keys] if keys else [])
    return (
        found[0] or [tensor.name for tensor in model.inputs],
        found[1] or list(keras.Model(list(model.inputs), list(model.outputs)).output_names),
    )


def is_compressed(layer: Any) -> bool:
    """Whether a layer is one of those that stay in a compressed model, e.g. a range."""
    return keras.saving.get_registered_name(type(layer)).startswith("compress>")


def tables(net: keras.Model) -> list[Any]:
    """Returns what a model looks values up in: TensorFlow saves it only where it is named."""
    return [
        value
        for layer in net._flatten_layers(include_self=False)
        for value in vars(layer).values()
        if isinstance(value, tf.saved_model.experimental.TrackableResource)
    ]


def words(net: keras.Model) -> list[str]:
    """Returns words that the tables of a model know, else any."""
    known = [
        str(word)
        for layer in net._flatten_layers(include_self=False)
        if hasattr(layer, "lookup_table") and layer.compute_dtype == "string"
        for word in layer.get_vocabulary(include_special_tokens=False)[:NUM_WORDS]
    ]
    return known or list(WORDS)


def serving_function(
    net: keras.Model, signature: Signature, *, batch: int | None, writer: Writer | None = None
) -> Any:
    """Returns a `tf.function` over the named inputs, in inference mode.

    Args:
        net: What `prepare` returned.
        signature: Likewise.
        batch: Size of the first dimension; `None` leaves it free.
        writer: How recurrent layers are written, see `export.recurrent`.
    """
    specs = {
        spec.name: tf.TensorSpec((batch, *spec.shape[1:]), spec.dtype, name=spec.name)
        for spec in signature.inputs
    }

    def serve(inputs: dict[str, tf.Tensor]) -> Any:
        # Without `training=False` RandomFlip and its kin stay random: their default is True.
        with plain_winners(), written_as(writer):
            return net([inputs[spec.name] for spec in signature.inputs], training=False)

    return tf.function(serve, input_signature=[specs], autograph=False)


def refuse_loops(net: keras.Model, kind: str, reason: str) -> None:
    """Refuses recurrent layers that are loops in the graph.

    Raises:
        RuntimeError: There is one that is not unrolled.
    """
    for layer in net._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.RNN) and not layer.unroll:
            raise RuntimeError(
                f"export to {kind}: recurrent layer {called(layer)!r} is a loop; {reason}. Build it"
                " with unroll=True and the same weights."
            )


def run_keras(net: keras.Model, signature: Signature, inputs: Arrays) -> Arrays:
    """Returns the Keras model's outputs (n, ...) by name: what a file is compared with."""

    def call(batch: Arrays) -> Any:
        return net([batch[spec.name] for spec in signature.inputs], training=False)

    # On a GPU convolutions round to TF32, which alone differs from float32 by 1e-3.
    with tf.device("/CPU:0"):
        return in_batches(call, inputs)


def _check_finite(model: keras.Model) -> None:
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        if value.dtype.kind not in "iub" and not np.isfinite(value.astype(np.float32)).all():
            raise ValueError(
                f"export: the weight {weight.path!r} has NaN or infinite values; expected finite"
                " ones. Train again, or load an earlier model."
            )


def _check_batch(model: keras.Model) -> None:
    free = all(tensor.shape[0] is None for tensor in model.inputs)
    for name, tensor in zip(own_names(model)[1], model.outputs, strict=True):
        if not tensor.shape or (free and tensor.shape[0] is not None):
            raise ValueError(
                f"export: output {name!r} has shape {tuple(tensor.shape)}; expected the batch"
                " first, a row for each example. Leave the sum over examples out of the model."
            )


def _refuse_state(model: keras.Model) -> None:
    for layer in model._flatten_layers(include_self=False):
        if getattr(layer, "stateful", False) and isinstance(layer, keras.layers.RNN):
            raise RuntimeError(
                f"export: recurrent layer {layer.name!r} is stateful, and a file keeps nothing from"
                " one call to the next. Build it with stateful=False and the same weights, its"
                " states as inputs and outputs where you need them."
            )


def _inputs(model: keras.Model) -> list[Any]:
    try:
        return list(model.inputs)
    except (AttributeError, ValueError):  # a Sequential model that was never built has none
        return []


def _specs(names: list[str], tensors: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=(None, *tensor.shape[1:]), dtype=tensor.dtype)
        for name, tensor in zip(names, tensors, strict=True)
    )
