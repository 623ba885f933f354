"""The gradient check: backpropagation against central finite differences, in float64.

Source: Nocedal & Wright 2006, Numerical optimization, section 8.1. The slope of the loss along one
weight w is (L(w + h) - L(w - h)) / 2h, up to terms of h squared. Where a ReLU or a max-pooling
switches between the two points, that is not the derivative; a smaller h passes the kink by, until
rounding takes over. So h goes from 1e-4 down to 1e-6, for large slopes to 1e-7, and the nearest
answer counts: a wrong gradient is wrong at every h.

Every weight first moves by a random hundredth of its size, and those at 0 by about 1e-2: fresh
biases are exactly 0, and a ReLU without input would then sit on its kink at every h.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compress.graph import leaf_layers
from zoo.craft.copies import copy
from zoo.tasks.task import Task
from zoo.training import steps

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)  # h
GOOD, WRONG = 1e-5, 1e-4  # relative errors: fine up to the first, wrong above the second
ROUNDING = 4e-15  # of the loss, relative to it; divided by h it blurs the difference


@dataclass(frozen=True)
class Slope:
    """The slope of the loss along one weight, found in two ways.

    Attributes:
        path: Layer and weight.
        kind: Class of the layer, and name of the weight.
        backward: By backpropagation.
        difference: By the finite difference that is nearest to it.
        error: What they differ by beyond rounding, relative to the larger of the two.
    """

    path: str
    kind: str
    backward: float
    difference: float
    error: float


def compare_slopes(
    task: Task,
    networks: Mapping[str, keras.Model],
    batch: Mapping[str, np.ndarray],
    *,
    coordinates: int = 6,
    seed: int = 0,
) -> list[Slope]:
    """Compares slopes along a few weights of every kind: a class of layer, a name of weight.

    Half of the weights are drawn from all of a kind, half from its larger gradients. The networks
    are in training mode; what they draw at random is drawn alike for all points. The loss is that
    of the task's first objective.

    Args:
        task: Gives the loss.
        networks: By name; they stay as they are.
        batch: Named columns (n, ...) and `weight`; a few examples suffice.
        coordinates: Weights of each kind.
        seed: Seed of the choice.
    """
    random = np.random.RandomState(seed)
    batch = {
        name: values.astype("float64") if values.dtype.kind == "f" else values
        for name, values in batch.items()
    }
    objective = task.objectives()[0]
    twins = {name: copy(network, dtype="float64") for name, network in networks.items()}
    learning = [twins[name] for name in objective.learns]
    variables = [variable for twin in learning for variable in twin.trainable_variables]
    for variable in variables:
        value = variable.numpy()
        size = np.where(value == 0, 1.0, np.abs(value))
        variable.assign(value + 0.01 * size * random.standard_normal(value.shape))
    weights = [v.value for v in variables]
    # What a look may change: states of random streams, statistics, chains.
    known = {id(v) for twin in twins.values() for v in twin.trainable_weights}
    seeds = [v for twin in twins.values() for v in twin.variables if id(v) not in known]
    start = [v.numpy() for v in seeds]

    def again() -> None:
        for variable, value in zip(seeds, start, strict=True):
            variable.assign(value)

    @tf.function(autograph=False)
    def slopes() -> tuple[Any, list[Any]]:
        again()
        return steps.gradient(task, objective, twins, batch, variables=variables)[:2]

    @tf.function(autograph=False)
    def height() -> Any:
        again()
        return steps.loss(task, objective, twins, batch)[0]

    level, gradients = slopes()
    blur = ROUNDING * max(1.0, abs(float(level)))
    found: list[Slope] = []
    for kind, members in _kinds(learning, variables).items():
        for index, place in _choose(members, gradients, coordinates, random):
            backward = float(gradients[index].numpy()[place])
            best: Slope | None = None
            for step in STEPS:
                if step == STEPS[-1] and blur / step > GOOD * abs(backward):
                    break  # rounding would hide what is looked for
                difference = _difference(weights[index], place, step, height)
                error = _error(backward, difference, blur / step)
                slope = Slope(members[index], kind, backward, difference, error)
                best = slope if best is None or error < best.error else best
                if error <= GOOD:
                    break
            found += [best] if best else []
    return found


def _error(backward: float, difference: float, blur: float) -> float:
    """What two slopes differ by beyond the blur, relative to the larger one."""
    if not math.isfinite(backward + difference):
        return math.inf
    apart = abs(backward - difference) - blur
    return apart / max(abs(backward), abs(difference)) if apart > 0 else 0.0


def _difference(weight: tf.Variable, place: tuple[int, ...], step: float, height: Any) -> float:
    """The central difference along one weight, which has its value again afterwards."""
    value = tf.gather_nd(weight, place)
    ends = []
    for move in (step, -step):
        _put(weight, place, value + move)
        ends.append(float(height()))
    _put(weight, place, value)
    return (ends[0] - ends[1]) / (2 * step)


def _put(weight: tf.Variable, place: tuple[int, ...], value: Any) -> None:
    if place:
        weight.scatter_nd_update([place], [value])
    else:
        weight.assign(value)


def _kinds(
    models: Sequence[keras.Model], variables: Sequence[keras.Variable]
) -> dict[str, dict[int, str]]:
    """For each kind of weight, the indices of its trainable variables and their paths."""
    place = {id(v): index for index, v in enumerate(variables)}
    kinds: dict[str, dict[int, str]] = {}
    for path, layer in (pair for model in models for pair in leaf_layers(model)):
        for variable in layer.trainable_variables:
            kind = f"{type(layer).__name__} {variable.name}"
            kinds.setdefault(kind, {})[place[id(variable)]] = f"{path}/{variable.name}"
    return kinds


def _choose(
    members: dict[int, str], gradients: list[Any], count: int, random: np.random.RandomState
) -> list[tuple[int, tuple[int, ...]]]:
    """Weights of one kind: (index of the variable, place in it)."""
    chosen = []
    for turn in range(count):
        index = int(random.choice(list(members)))
        size = np.abs(gradients[index].numpy()).ravel()
        among = np.arange(size.size)
        if turn % 2:
            among = np.flatnonzero(size >= np.sqrt(np.mean(size**2)))
        flat = int(random.choice(among)) if among.size else 0
        place = tuple(int(i) for i in np.unravel_index(flat, gradients[index].shape))
        chosen.append((index, place))
    return chosen
