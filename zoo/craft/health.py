"""What goes wrong in a fresh net: dead and saturated units, vanishing and exploding gradients.

Sources: Glorot & Bengio 2010, AISTATS 9 (saturation; the scale of gradients across depth); He et
al. 2015, arXiv:1502.01852 (scale of the weights before a ReLU). Measured on real examples, in
training mode, without dropout. The thresholds, each for a warning and for a failure:

    dead        share of a ReLU layer's units that are 0 for every example     0.5    0.9
    saturated   share of a tanh or sigmoid layer's values within a fortieth
                of its whole span of an end (a tanh beyond +-0.95)             0.25   0.5
    vanishing   largest norm(gradient) / norm(weight) of any kernel, divided
                by this kernel's                                               1e4    1e6
    exploding   norm(gradient) / norm(weight) of a kernel: what a step of
                plain gradient descent changes at a learning rate of 1; in
                units of the loss at outputs of 0, where that is above 1       100    1e4
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.craft.copies import copy, leaves, watch

DEAD, SATURATED = (0.5, 0.9), (0.25, 0.5)
VANISHING, EXPLODING = (1e4, 1e6), (100.0, 1e4)
EDGE = 0.025  # share of the span of a squashing function that counts as its end, on either side


@dataclass
class Layer:
    """What one layer does with a batch.

    Attributes:
        path: Where the layer stands.
        kind: Name of its class.
        mean: Mean of its outputs.
        std: Standard deviation of its outputs.
        dead: Share of the units that are 0 for every example; `None` without a ReLU.
        saturated: Share of the values at an end of their span; `None` without tanh or sigmoid.
        ratio: Norm of the gradient over norm of the weights, of its kernels; `None` without any, or
            where the weights are all 0.
    """

    path: str
    kind: str
    mean: float
    std: float
    dead: float | None = None
    saturated: float | None = None
    ratio: float | None = None


def measure(model: keras.Model, loss: Any, images: np.ndarray, labels: np.ndarray) -> list[Layer]:
    """Returns what each layer does, in the order of the graph.

    Args:
        model: Functional; stays as it is.
        loss: (labels, outputs) to (batch,).
        images: Inputs (n, ...).
        labels: (n,).
    """
    found: dict[str, Layer] = {}

    def look(path: str, layer: keras.layers.Layer, outputs: Any) -> None:
        values = keras.tree.flatten(outputs)[0]
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(values.dtype)):
            return
        found[path] = _look(path, layer, keras.ops.convert_to_numpy(values))

    seen = copy(model, still=True)
    watch(seen, look)
    seen(images, training=True)
    for path, ratio in _ratios(copy(model, still=True), loss, images, labels).items():
        if path in found:
            found[path].ratio = ratio
    return list(found.values())


def _look(path: str, layer: keras.layers.Layer, values: np.ndarray) -> Layer:
    # float64: a net that explodes leaves the range of float32 on its way to a variance.
    with np.errstate(over="ignore", invalid="ignore"):
        wide = values.astype(np.float64)
        seen = Layer(path, type(layer).__name__, float(wide.mean()), float(wide.std()))
    span = _span(layer)
    if _is_relu(layer):
        units = values.reshape(-1, values.shape[-1])
        seen.dead = float(np.mean(~(units > 0).any(axis=0)))
    elif span:
        low, high = span
        edge = EDGE * (high - low)
        seen.saturated = float(np.mean((values < low + edge) | (values > high - edge)))
    return seen


def _ratios(
    model: keras.Model, loss: Any, images: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Norm of the gradient over norm of the weights, for each layer's kernels."""
    place = {id(v): index for index, v in enumerate(model.trainable_variables)}

    @tf.function(autograph=False)
    def squares(images: Any, labels: Any) -> tuple[Any, Any]:
        weights = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(labels, model(images, training=True)))
        gradients = tape.gradient(value, weights, unconnected_gradients="zero")
        return tuple(
            tf.stack([tf.reduce_sum(tf.cast(x, "float64") ** 2) for x in each])
            for each in (gradients, weights)
        )

    if not place:
        return {}
    gradient, weight = (x.numpy() for x in squares(images, labels))
    ratios = {}
    for path, layer in leaves(model):
        kernels = [place[id(v)] for v in layer.trainable_variables if len(v.shape) > 1]
        size = weight[kernels].sum()
        if size:
            ratios[path] = float(np.sqrt(gradient[kernels].sum() / size))
    return ratios


def _is_relu(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope
    return _activation(layer) in ("relu", "relu6")


def _span(layer: keras.layers.Layer) -> tuple[float, float] | None:
    """The ends between which a layer squashes its values."""
    if type(layer).__name__ == "ScaledTanh":
        return -layer.amplitude, layer.amplitude
    return {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}.get(_activation(layer))


def _activation(layer: keras.layers.Layer) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")


def behind(layers: list[Layer]) -> dict[str, float]:
    """Returns how many times smaller each layer's ratio is than the largest; infinite for 0."""
    ratios = {layer.path: layer.ratio for layer in layers if layer.ratio is not None}
    largest = max((r for r in ratios.values() if math.isfinite(r)), default=0.0)
    return {path: largest / r if r else math.inf for path, r in ratios.items()}
