"""What goes wrong in a fresh net: dead and saturated units, vanishing and exploding gradients.

Sources: Glorot & Bengio 2010, AISTATS 9 (saturation; the scale of gradients across depth); He et
al. 2015, arXiv:1502.01852 (scale of the weights before a ReLU). Measured on real examples, in
training mode, without dropout, on layers alone: a `keras.ops.relu` in the graph is not seen. The
thresholds, each for a warning and for a failure:

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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compress.graph import leaf_layers
from zoo.craft.copies import copy
from zoo.craft.finding import Finding, Verdict
from zoo.tasks.task import Task
from zoo.training import steps
from zoo.training.blame import watch

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


def layer_health(
    task: Task, networks: Mapping[str, keras.Model], batch: Mapping[str, np.ndarray]
) -> list[Layer]:
    """Returns what each layer does, in the order of the graphs.

    Args:
        task: Looks at the batch; its first objective gives the gradient.
        networks: By name; they stay as they are. Where there are several, a path opens with the
            name.
        batch: Named columns (n, ...) and `weight`.
    """
    found: dict[str, Layer] = {}
    seen = {name: copy(network, still=True) for name, network in networks.items()}
    for name, network in seen.items():
        watch(network, _noting(found, f"{name}/" if len(networks) > 1 else ""))
    objective = task.objectives()[0]
    task.look(objective.name, seen, batch, training=True)
    for path, ratio in _ratios(task, networks, batch).items():
        if path in found:
            found[path].ratio = ratio
    return list(found.values())


def _noting(found: dict[str, Layer], prefix: str) -> Any:
    def look(path: str, layer: keras.layers.Layer, outputs: Any) -> None:
        values = keras.tree.flatten(outputs)[0]
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(values.dtype)):
            return
        path = prefix + path
        found[path] = _look(path, layer, keras.ops.convert_to_numpy(values))

    return look


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
    task: Task, networks: Mapping[str, keras.Model], batch: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Norm of the gradient over norm of the weights, for each layer's kernels."""
    twins = {name: copy(network, still=True) for name, network in networks.items()}
    objective = task.objectives()[0]
    variables = [v for name in objective.learns for v in twins[name].trainable_variables]
    if not variables:
        return {}

    @tf.function(autograph=False)
    def squares() -> tuple[Any, Any]:
        _, gradients, _ = steps.gradient(task, objective, twins, batch, variables=variables)
        return tuple(
            tf.stack([tf.reduce_sum(tf.cast(x, "float64") ** 2) for x in each])
            for each in (gradients, [v.value for v in variables])
        )

    of_gradients, of_weights = (each.numpy() for each in squares())
    place = {id(v): index for index, v in enumerate(variables)}
    ratios = {}
    for name in objective.learns:
        prefix = f"{name}/" if len(networks) > 1 else ""
        for path, layer in leaf_layers(twins[name]):
            kernels = [place[id(v)] for v in layer.trainable_variables if len(v.shape) > 1]
            size = of_weights[kernels].sum()
            if size:
                ratios[prefix + path] = float(np.sqrt(of_gradients[kernels].sum() / size))
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


def dead(layers: list[Layer]) -> Finding:
    """Names the layers whose ReLUs never speak."""
    shares = {layer.path: layer.dead for layer in layers if layer.dead is not None}
    remedy = "units of 0 get no gradient: raise their bias, lower the rate, or start by He's scale"
    return _judge("dead", shares, DEAD, "{:.0%} of the ReLUs are 0 for all", remedy, "ReLU")


def saturated(layers: list[Layer]) -> Finding:
    """Names the layers whose tanh or sigmoid stands at its ends."""
    shares = {layer.path: layer.saturated for layer in layers if layer.saturated is not None}
    remedy = "flat there, so no gradient: start smaller (Glorot's scale), normalise the inputs"
    wording = "{:.0%} of the values are at an end"
    return _judge("saturated", shares, SATURATED, wording, remedy, "tanh or sigmoid")


def vanishing(layers: list[Layer]) -> Finding:
    """Names the layers that the gradient hardly reaches."""
    remedy = "the gradient fades on its way: ReLU, batch normalisation, He's scale, short cuts"
    wording = "norm(gradient) / norm(weight) is {:.2g} times below the largest"
    return _judge("vanishing", _behind(layers), VANISHING, wording, remedy, "kernel")


def exploding(layers: list[Layer], level: float = 1.0) -> Finding:
    """Names the layers whose gradient dwarfs their weights, or whose outputs are not numbers.

    Args:
        layers: As measured.
        level: The loss of outputs that are 0, which says in what unit the gradient is.
    """
    unit = max(1.0, level)
    ratios = {layer.path: layer.ratio / unit for layer in layers if layer.ratio is not None}
    for layer in layers:
        if not math.isfinite(layer.std):
            ratios[layer.path] = math.inf
    remedy = "the signal grows on its way: start smaller, normalise, set clip_global_norm"
    wording = "norm(gradient) / norm(weight) is {:.2g}"
    return _judge("exploding", ratios, EXPLODING, wording, remedy, "kernel")


def _judge(
    name: str,
    values: dict[str, float],
    limits: tuple[float, float],
    wording: str,
    remedy: str,
    what: str,
) -> Finding:
    """Judges layers by their largest value."""
    if not values:
        return Finding(name, f"no layer has a {what}")
    clean = {path: math.inf if math.isnan(value) else value for path, value in values.items()}
    over = sorted((path for path in clean if clean[path] > limits[0]), key=lambda p: -clean[p])
    worst = max(clean, key=lambda path: clean[path])
    measured = f"{worst}: {wording.format(clean[worst])}"
    if not over:
        return Finding(name, measured, values=clean)
    if len(over) > 1:
        others = ", ".join(over[1:4]) + (", ..." if len(over) > 4 else "")
        measured += f"; also {others}"
    verdict: Verdict = "FAIL" if clean[worst] > limits[1] else "warn"
    return Finding(name, measured, verdict, remedy, clean)


def _behind(layers: list[Layer]) -> dict[str, float]:
    """Returns how many times smaller each layer's ratio is than the largest; infinite for 0."""
    ratios = {layer.path: layer.ratio for layer in layers if layer.ratio is not None}
    largest = max((r for r in ratios.values() if math.isfinite(r)), default=0.0)
    return {path: largest / r if r else math.inf for path, r in ratios.items()}
