"""From any Functional or Sequential model to the one form that targets write.

That form is float32, has named inputs and outputs, and runs in inference mode only. Keras' own
`model.export` is not used: it leaves random augmentation live, keeps half precision, and names
tensors `keras_tensor` and `output_0`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export.examples import Arrays, in_batches
from export.manifest import Signature, TensorSpec

_HALF = ("float16", "bfloat16")


def functional(model: keras.Model, inputs: Any) -> keras.Model:
    """Returns a Functional model that calls a subclassed one.

    Args:
        model: Any model; its `call` takes one tensor, or a list or dict of them.
        inputs: A `keras.Input`, or a list or dict of them, as `model` takes them.
    """
    return keras.Model(inputs, model(inputs), name=model.name)


def prepare(model: keras.Model) -> tuple[keras.Model, Signature]:
    """Returns the model in the form that targets write, and its signature.

    The returned model takes a list of inputs and returns a dict of named outputs. It shares the
    given model's layers, unless some of them compute in half precision: then the graph is built
    again in float32 with the same weights.

    Raises:
        TypeError: `model` is not a built Functional or Sequential model.
        ValueError: A weight is NaN or infinite.
    """
    if not isinstance(model, keras.Model) or not _inputs(model):
        hint = " Wrap a subclassed one: export.functional(model, keras.Input(...))."
        raise TypeError(
            f"export: got {type(model).__name__}; expected a Functional model or a built Sequential"
            f" one, whose inputs are known.{hint if isinstance(model, keras.Model) else ''}"
        )
    _check_finite(model)
    plain = keras.Model(list(model.inputs), list(model.outputs))
    structure = getattr(model, "output", None)  # a Sequential model has none before its first call
    if isinstance(structure, dict):
        names = ["_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(structure)]
    else:
        names = plain.output_names
    if any(layer.compute_dtype in _HALF for layer in plain._flatten_layers(include_self=False)):
        plain = _in_float32(plain)
    outputs = dict(zip(_identifiers(names), plain.outputs, strict=True))
    net = keras.Model(plain.inputs, outputs, name=model.name)
    input_names = _identifiers([tensor.name for tensor in plain.inputs])
    return net, Signature(
        inputs=_specs(input_names, plain.inputs),
        outputs=_specs(list(outputs), outputs.values()),
    )


def without_softmax(net: keras.Model) -> tuple[keras.Model, list[str]]:
    """Returns a model of logits where `net` ends in a softmax, and the names of those outputs.

    In 8 bits the shares of a thousand classes are nearly all zero; the winner is the same. The
    layers are shared, but for a last one whose activation the softmax is.

    Args:
        net: What `prepare` returned.
    """
    found = {name: _logits(tensor) for name, tensor in net.output.items()}
    cut = [name for name, tensor in found.items() if tensor is not None]
    if not cut:
        return net, []
    outputs = {name: net.output[name] if new is None else new for name, new in found.items()}
    return keras.Model(net.inputs, outputs, name=net.name), cut


def _logits(tensor: Any) -> Any:
    """What a softmax made of it is given, or `None` where the tensor is of something else."""
    layer, call, place = tensor._keras_history
    inputs = layer._inbound_nodes[call].input_tensors
    if isinstance(layer, keras.layers.Softmax):
        return inputs[0]
    if isinstance(layer, keras.Model):
        inner = _logits(layer.outputs[place])
        return None if inner is None else keras.Model(layer.inputs, inner, name=layer.name)(inputs)
    if getattr(layer, "activation", None) is not keras.activations.softmax:
        return None
    if type(layer) is keras.layers.Activation:
        return inputs[0]
    if type(layer) not in (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D):
        return None
    linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    logits = linear(inputs[0])
    linear.set_weights(layer.get_weights())
    return logits


def serving_function(net: keras.Model, signature: Signature, *, batch: int | None) -> Any:
    """Returns a `tf.function` over the named inputs, in inference mode.

    Args:
        net: What `prepare` returned.
        signature: Likewise.
        batch: Size of the first dimension; `None` leaves it free.
    """
    specs = {
        spec.name: tf.TensorSpec((batch, *spec.shape[1:]), spec.dtype, name=spec.name)
        for spec in signature.inputs
    }

    def serve(inputs: dict[str, tf.Tensor]) -> Any:
        # Without `training=False` RandomFlip and its kin stay random: their default is True.
        return net([inputs[spec.name] for spec in signature.inputs], training=False)

    return tf.function(serve, input_signature=[specs], autograph=False)


@contextlib.contextmanager
def inlined() -> Iterator[None]:
    """Traces inner functions in place: Keras wraps grouped convolutions in one, for XLA."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def refuse_loops(net: keras.Model, kind: str, reason: str) -> None:
    """Refuses recurrent layers that are loops in the graph.

    Raises:
        RuntimeError: There is one that is not unrolled.
    """
    for layer in net._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.RNN) and not layer.unroll:
            raise RuntimeError(
                f"export to {kind}: recurrent layer {layer.name!r} is a loop; {reason}. Build it"
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


def _inputs(model: keras.Model) -> list[Any]:
    try:
        return list(model.inputs)
    except (AttributeError, ValueError):  # a Sequential model that was never built has none
        return []


def _in_float32(model: keras.Model) -> keras.Model:
    """Builds the graph again with every half-precision policy replaced by float32."""

    def rebuild(layer: Any) -> Any:
        return type(layer).from_config(_float32_config(layer.get_config()))

    clone = keras.models.clone_model(model, clone_function=rebuild, recursive=True)
    for new, old in zip(clone.weights, model.weights, strict=True):
        new.assign(keras.ops.cast(old, new.dtype))
    return clone


def _float32_config(config: Any) -> Any:
    """Replaces half-precision policies, also those of the layers inside a wrapper."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            name = config["config"]["name"]
            return "float32" if name.endswith(_HALF) else config
        return {key: _float32_config(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_float32_config(value) for value in config]
    return config


def _identifiers(names: list[str]) -> list[str]:
    """Makes names that every runtime accepts: letters, digits and `_`, each once."""
    names = [re.sub(r"\W", "_", name) for name in names]
    return names if len(set(names)) == len(names) else [f"tensor_{i}" for i in range(len(names))]


def _specs(names: list[str], tensors: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=(None, *tensor.shape[1:]), dtype=tensor.dtype)
        for name, tensor in zip(names, tensors, strict=True)
    )
