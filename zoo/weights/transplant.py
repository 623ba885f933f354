"""Carries trained weights into a Keras model, layer by layer.

torch stores a convolution as (out, in, height, width) and a dense layer as (out, in); Keras as
(height, width, in, out) and (in, out). A depthwise kernel (channels, 1, height, width) becomes
(height, width, channels, 1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import keras
import numpy as np


def from_torch(
    model: keras.Model,
    tensors: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    *,
    skip: Collection[str] = (),
) -> None:
    """Sets the weights of a model from a torch state; on an error the model is as it was.

    Args:
        model: Built; its layers with weights are convolutions, dense layers and normalisations.
        tensors: State of the torch module: `<module>.<leaf>` to an array.
        names: Name of each layer with weights to the name of its torch module.
        skip: Layers that keep the weights they have.

    Raises:
        ValueError: A layer or a tensor has no partner, or their shapes differ.
    """
    used: set[str] = set()
    plan: list[tuple[keras.layers.Layer, Sequence[np.ndarray]]] = []
    for layer, module in _partners(model, names):
        keys = [f"{module}.{leaf}" for leaf in _leaves(layer)]
        used.update(keys)
        if layer.name in skip:
            continue
        missing = [key for key in keys if key not in tensors]
        if missing:
            raise ValueError(
                f"{model.name}: {layer.name!r} needs {missing[0]!r}, which is missing."
            )
        turned = [_turned(layer, np.asarray(tensors[key])) for key in keys]
        plan.append((layer, _fitting(model, layer, turned)))
    counters = {key for key in tensors if key.endswith("num_batches_tracked")}
    _nothing_left(model, set(tensors) - counters - used)
    for layer, values in plan:
        layer.set_weights(values)


def from_keras(
    model: keras.Model,
    source: keras.Model,
    names: Mapping[str, str],
    *,
    skip: Collection[str] = (),
    flip: str | None = None,
) -> None:
    """Sets the weights of a model from another Keras model of the same net; see `from_torch`.

    Args:
        model: Built.
        source: Built; its layers with weights are not nested.
        names: Name of each layer with weights to the name of its partner in `source`.
        skip: Layers that keep the weights they have.
        flip: A convolution whose input channels change their order, BGR to RGB.

    Raises:
        ValueError: A layer has no partner, or their shapes differ.
    """
    theirs = {layer.name: layer for layer in source.layers if layer.weights}
    used: set[str] = set()
    plan: list[tuple[keras.layers.Layer, Sequence[np.ndarray]]] = []
    for layer, partner in _partners(model, names):
        used.add(partner)
        if layer.name in skip:
            continue
        if partner not in theirs:
            raise ValueError(f"{model.name}: {layer.name!r} needs {partner!r}, which is missing.")
        values = theirs[partner].get_weights()
        if layer.name == flip:
            values[0] = values[0][:, :, ::-1]  # (height, width, in, out)
        plan.append((layer, _fitting(model, layer, values)))
    _nothing_left(model, set(theirs) - used)
    for layer, values in plan:
        layer.set_weights(values)


def _partners(
    model: keras.Model, names: Mapping[str, str]
) -> Iterator[tuple[keras.layers.Layer, str]]:
    for layer in model.layers:
        if not layer.weights:
            continue
        if layer.name not in names:
            raise ValueError(f"{model.name}: the layer {layer.name!r} has no partner.")
        yield layer, names[layer.name]


def _fitting(
    model: keras.Model, layer: keras.layers.Layer, values: Sequence[np.ndarray]
) -> Sequence[np.ndarray]:
    """Returns the values, if they have the shapes of the layer's weights."""
    shapes = [tuple(value.shape) for value in values]
    wanted = [tuple(weight.shape) for weight in layer.weights]
    if shapes != wanted:
        raise ValueError(
            f"{model.name}: {layer.name!r} got trained weights {shapes}; expected {wanted}. Build "
            "it with the settings, and where it has hidden dense layers the input, of the training."
        )
    return values


def _nothing_left(model: keras.Model, left: Collection[str]) -> None:
    if left:
        raise ValueError(f"{model.name}: {len(left)} weights are left over, e.g. {min(left)!r}.")


def _leaves(layer: keras.layers.Layer) -> tuple[str, ...]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return ("weight", "bias", "running_mean", "running_var")
    return ("weight", "bias") if layer.use_bias else ("weight",)


def _turned(layer: keras.layers.Layer, value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        return value.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    return value.T
