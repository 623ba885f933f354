"""Which pixels a score depends on, by gradients.

Sources: saliency, Simonyan et al. 2013, arXiv:1312.6034, section 3; guided backpropagation and the
deconvnet, see `zoo.explain.backward`; integrated gradients, Sundararajan et al. 2017,
arXiv:1703.01365, equation 1; SmoothGrad, Smilkov et al. 2017, arXiv:1706.03825, section 2.

Every function takes a model (or a `Classifier`, which keeps what it has traced), what the model
reads (n, height, width, channels), and a class: an index for all, one for each picture, or `None`
for the one that is predicted. All return maps of the inputs' shape, float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from zoo.explain.classifier import Classifier, Model

Classes: TypeAlias = int | Sequence[int] | np.ndarray | None


def saliency(model: Model, inputs: np.ndarray, classes: Classes = None) -> np.ndarray:
    """Returns how strongly each value of the inputs moves the score: |d score / d input|."""
    seen = Classifier.of(model)
    return np.abs(seen.gradient(inputs, seen.classes(inputs, classes))[0])


def guided_backprop(model: Model, inputs: np.ndarray, classes: Classes = None) -> np.ndarray:
    """Returns the gradient of which rectifiers pass only what is positive, both ways."""
    seen = Classifier.of(model)
    return seen.gradient(inputs, seen.classes(inputs, classes), rule="guided")[0]


def deconvnet(model: Model, inputs: np.ndarray, classes: Classes = None) -> np.ndarray:
    """Returns what the deconvnet makes of a score: rectifiers pass what comes back positive.

    Max-pooling gives on to where the maximum was.
    """
    seen = Classifier.of(model)
    return seen.gradient(inputs, seen.classes(inputs, classes), rule="deconvnet")[0]


def integrated_gradients(
    model: Model,
    inputs: np.ndarray,
    classes: Classes = None,
    *,
    baseline: np.ndarray | float = 0.0,
    steps: int = 50,
) -> np.ndarray:
    """Returns what each value adds to the score on the way from a baseline; with its sign.

    The sum over a picture is the score there minus that of the baseline, up to the error of the
    midpoint rule, which falls with `steps`.

    Args:
        model: A classifier.
        inputs: What it reads.
        classes: The class.
        baseline: A picture without the thing, as the model reads it: a number, or an array that
            fits the inputs.
        steps: Points on the way, 1 or more.

    Raises:
        ValueError: There is no step.
    """
    if steps < 1:
        raise ValueError(f"integrated_gradients: got {steps} steps; expected 1 or more.")
    seen, inputs = Classifier.of(model), np.asarray(inputs, np.float32)
    classes = seen.classes(inputs, classes)
    away = inputs - np.asarray(baseline, np.float32)
    total = np.zeros(inputs.shape, np.float64)
    for step in range(steps):
        there = inputs - away * np.float32(1 - (step + 0.5) / steps)
        total += seen.gradient(there, classes)[0]
    return (total / steps * away).astype(np.float32)


def smooth_grad(
    model: Model,
    inputs: np.ndarray,
    classes: Classes = None,
    *,
    noise: float = 0.15,
    samples: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Returns the mean gradient over copies of the pictures with normal noise; with its sign.

    Args:
        model: A classifier.
        inputs: What it reads.
        classes: The class; what is predicted is so of the picture without noise.
        noise: Standard deviation, as a fraction of the span of each picture's values, 0 or more.
        samples: Copies, 1 or more.
        seed: Seed of the noise, see `noises`.

    Raises:
        ValueError: The noise is negative, or there is no copy.
    """
    if samples < 1 or not noise >= 0:
        raise ValueError(
            f"smooth_grad: got noise {noise} and {samples} samples; expected 0 or more, and 1 or "
            "more."
        )
    seen, inputs = Classifier.of(model), np.asarray(inputs, np.float32)
    classes = seen.classes(inputs, classes)
    total = np.zeros(inputs.shape, np.float64)
    for drawn in noises(inputs, noise, samples, seed):
        total += seen.gradient(inputs + drawn, classes)[0]
    return (total / samples).astype(np.float32)


def noises(inputs: np.ndarray, noise: float, samples: int, seed: int) -> list[np.ndarray]:
    """Returns the noise of `smooth_grad`: for each sample, an array like the inputs."""
    random = np.random.RandomState(seed)
    axes = tuple(range(1, inputs.ndim))
    span = np.ptp(inputs, axis=axes, keepdims=True)
    return [
        (noise * span * random.standard_normal(inputs.shape)).astype(np.float32)
        for _ in range(samples)
    ]
