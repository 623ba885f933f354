"""A changed network brought nearer to the one before, layer by layer, from the inputs on.

Each layer is fitted to what the one before gave, on what the changed layers in front of it give;
the statistics of batch normalisations are measured again on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from threadpoolctl import threadpool_limits

from compress.graph import folding
from compress.graph.graph import leaf_layers
from compress.graph.kernels import inner
from compress.graph.norms import moments, moved
from compress.graph.steps import Steps
from compress.graph.ties import tied_paths
from compress.layers.parametrized import Parametrized
from compress.passes.recovery.problem import Problem, fittable, posed, stacked, unstacked

Settle = Callable[[str, Any, np.ndarray, Problem], "np.ndarray | None"]


@dataclass
class Done:
    """What was done.

    Attributes:
        kernels: Number of kernels that were fitted.
        norms: Number of normalisations with new statistics.
        scarce: Rows and inputs of layers that had fewer rows than inputs, by path.
    """

    kernels: int = 0
    norms: int = 0
    scarce: dict[str, tuple[int, int]] = field(default_factory=dict)


def fit_layers(
    model: keras.Model,
    before: keras.Model,
    samples: Sequence[np.ndarray],
    *,
    settle: Settle | None,
    origin: Mapping[str, str],
) -> Done:
    """Fits the layers of a changed network, in place.

    Args:
        model: The changed network.
        before: What it was made of.
        samples: As both take them, (n, ...) for each input.
        settle: Returns what a kernel is to be, given its path, its layer, itself as (kernels,
            inputs, outputs), and what it is to do; `None` where it stays. Without it no kernel
            changes.
        origin: The path in `before` of a layer that has another one there.
    """
    now, then = Steps(model, samples), Steps(before, samples)
    old, done = dict(leaf_layers(before)), Done()
    ties = tied_paths(dict(leaf_layers(model)))
    before_norm = {path for path, _ in folding.pairs(model).values()}
    for path, layer in now.layers:
        source = origin.get(path, path)
        if source not in old:
            continue
        if isinstance(layer, layers.BatchNormalization):
            own, seen = (moments(x.reach(y), layer.axis) for x, y in ((now, path), (then, source)))
            if statistics := moved(old[source], layer, seen, own):
                layer.moving_mean.assign(statistics.mean)
                layer.moving_variance.assign(statistics.variance)
                done.norms += 1
        elif settle is None or path in ties or now.times[path] > 1:
            continue
        elif fittable(layer) and _has_changed(layer, old[source]):
            centred = inner(layer).use_bias or path in before_norm
            pair = now.reach(path), then.reach(source)
            with threadpool_limits(1):  # threads of small sums wait for one another in a busy loop
                problem = posed(
                    layer, pair[0], old[source], pair[1], count=len(samples[0]), centred=centred
                )
                if problem:
                    _fit(path, layer, old[source], problem, settle, done)
    return done


def _has_changed(layer: Any, before: Any) -> bool:
    """Whether the kernel of a layer is not what it was, or will not be."""
    if not fittable(before):
        return False
    now, then = (ops.convert_to_numpy(inner(one).kernel) for one in (layer, before))
    return isinstance(layer, Parametrized) or not np.array_equal(now, then)


def _fit(path: str, layer: Any, before: Any, problem: Problem, settle: Settle, done: Done) -> None:
    """Fits a layer in place, where the kernel is one to fit."""
    plain, old = inner(layer), inner(before)
    kernel = stacked(plain, ops.convert_to_numpy(plain.kernel))
    fitted = settle(path, layer, kernel, problem)
    if fitted is None or not np.isfinite(fitted).all():
        return
    plain.kernel.assign(unstacked(fitted.astype(np.float32), plain.kernel.shape, plain))
    if plain.use_bias:
        # Of a slim kernel, those of the channels that are left are what the layer has.
        bias = ops.convert_to_numpy((plain if problem.slim else old).bias) if old.use_bias else 0.0
        plain.bias.assign(bias + problem.shift(fitted))
    if problem.rows < kernel.shape[1]:
        done.scarce[path] = problem.rows, kernel.shape[1]
    done.kernels += 1
