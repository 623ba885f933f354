"""Adversarial examples within a bound: pictures of which each value is changed a little.

Sources: FGSM, Goodfellow et al. 2014, arXiv:1412.6572, section 4; iterative, Kurakin et al. 2016,
arXiv:1607.02533, section 2.2; PGD, Madry et al. 2017, arXiv:1706.06083, section 2.1; universal
perturbations, Moosavi-Dezfooli et al. 2016, arXiv:1610.08401, algorithm 1; fooling pictures, Nguyen
et al. 2014, arXiv:1412.1897, section 3.3 (by gradients), from noise.

Everything is in the units of the model's inputs: `bounds` are the least and the greatest value that
a picture has there, `epsilon` is the most that a value may change. Inputs that lie outside the
bounds are refused: an attack would cut them off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.explain.classifier import Classifier, Model, batches
from zoo.explain.minimal import UNIT, Bounds, deepfool, within_bounds


def fgsm(
    model: Model, inputs: np.ndarray, labels: np.ndarray, *, epsilon: float, bounds: Bounds = UNIT
) -> np.ndarray:
    """Returns the inputs after one step of `epsilon` along the sign of the loss's gradient.

    Args:
        model: A classifier.
        inputs: What it reads, (n, height, width, channels).
        labels: The true classes, (n,).
        epsilon: Length of the step, 0 or more.
        bounds: The least and the greatest value of a picture.
    """
    return iterative(model, inputs, labels, epsilon=epsilon, rate=epsilon, steps=1, bounds=bounds)


def iterative(
    model: Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    epsilon: float,
    rate: float | None = None,
    steps: int = 10,
    bounds: Bounds = UNIT,
) -> np.ndarray:
    """Returns the inputs after several such steps, which end within `epsilon` of where they began.

    Args:
        model: A classifier.
        inputs: What it reads.
        labels: The true classes, (n,).
        epsilon: The most that a value changes, 0 or more.
        rate: Length of a step; `None`: 2.5 * epsilon / steps, as in Madry et al.
        steps: Steps, 1 or more.
        bounds: The least and the greatest value of a picture.
    """
    return _descend(model, inputs, inputs, labels, epsilon, rate, steps, bounds)


def pgd(
    model: Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    epsilon: float,
    steps: int = 20,
    bounds: Bounds = UNIT,
    seed: int = 0,
) -> np.ndarray:
    """Returns the same from a random place within `epsilon`, by steps of 2.5 * epsilon / steps.

    Args:
        model: A classifier.
        inputs: What it reads.
        labels: The true classes, (n,).
        epsilon: The most that a value changes, 0 or more.
        steps: Steps, 1 or more.
        bounds: The least and the greatest value of a picture.
        seed: Seed of the place.
    """
    random = np.random.RandomState(seed)
    start = np.asarray(inputs, np.float32) + random.uniform(-epsilon, epsilon, np.shape(inputs))
    return _descend(model, inputs, start, labels, epsilon, None, steps, bounds)


def universal_perturbation(
    model: Model,
    inputs: np.ndarray,
    *,
    epsilon: float,
    goal: float = 0.8,
    rounds: int = 5,
    bounds: Bounds = UNIT,
) -> np.ndarray:
    """Returns one change (height, width, channels) that makes a net name most pictures otherwise.

    Args:
        model: A classifier.
        inputs: Pictures that it is made of, (n, height, width, channels).
        epsilon: The most that a value changes.
        goal: Share of them that is to be named otherwise, for an early end.
        rounds: Times that all are looked at, at most.
        bounds: The least and the greatest value of a picture.
    """
    seen = Classifier.of(model)
    start = within_bounds(seen, inputs, bounds, who="universal_perturbation")
    named = seen.scores(start).argmax(axis=1)
    change = np.zeros(start.shape[1:], np.float32)
    for _ in range(rounds):
        for index, picture in enumerate(start):
            there = (picture + change).clip(*bounds)[None]
            if seen.scores(there).argmax() == named[index]:
                way = deepfool(seen, there, named[index : index + 1], steps=10, bounds=bounds)
                change = (change + way.inputs[0] - there[0]).clip(-epsilon, epsilon)
        now = seen.scores((start + change).clip(*bounds)).argmax(axis=1)
        if np.mean(now != named) >= goal:
            break
    return change


class Noise(NamedTuple):
    """Noise that is taken for something.

    Attributes:
        inputs: The pictures, (n, height, width, channels), float32.
        start: The noise that they began as, (height, width, channels).
        shares: The probability of the class of each, (n,).
    """

    inputs: np.ndarray
    start: np.ndarray
    shares: np.ndarray


def fooling_images(
    model: Model,
    classes: Sequence[int],
    *,
    share: float = 0.99,
    rate: float = 0.01,
    steps: int = 500,
    bounds: Bounds = UNIT,
    seed: int = 0,
) -> Noise:
    """Returns a picture of noise for each of some classes that a net takes for it, sure of itself.

    All begin as the same uniform noise, and go down the gradient of the cross-entropy no further
    than it takes.

    Args:
        model: A classifier of pictures of a known size.
        classes: The classes.
        share: Probability at which a picture is left as it is, in (0, 1).
        rate: Root mean square of a step, as a fraction of the span of the bounds.
        steps: Steps, at most.
        bounds: The least and the greatest value of a picture.
        seed: Seed of the noise.

    Raises:
        ValueError: There is no such class, or a setting is out of its range.
    """
    if not 0 < share < 1 or not rate > 0 or steps < 1:
        raise ValueError(
            f"fooling_images: got share {share}, rate {rate}, {steps} steps; expected a share "
            "within 0 and 1, a rate above 0, and 1 step or more."
        )
    seen, (low, high) = Classifier.of(model), bounds
    wanted = seen.classes(np.zeros((len(classes), 1)), list(classes))
    random = np.random.RandomState(seed)
    start = random.uniform(low, high, seen.sides).astype(np.float32)
    there = np.repeat(start[None], len(wanted), axis=0)
    rows = np.arange(len(wanted))
    shares = seen.shares(seen.scores(there))[rows, wanted]
    for _ in range(steps):
        going = np.flatnonzero(shares < share)
        if not going.size:
            break
        slope = loss_slope(seen, there[going], wanted[going])
        slope /= np.sqrt(np.mean(slope**2, axis=(1, 2, 3), keepdims=True)) + 1e-30
        there[going] = (there[going] - rate * (high - low) * slope).clip(low, high)
        found = seen.shares(seen.scores(there[going]))
        shares[going] = found[np.arange(len(going)), wanted[going]]
    return Noise(there, start, shares)


def loss_slope(model: Model, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the gradient of each picture's cross-entropy, (n, height, width, channels)."""
    seen = Classifier.of(model)

    def make() -> Any:
        @tf.function(autograph=False, reduce_retracing=True)
        def slope(x: Any, labels: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                scores = seen.run(x)[0]
                if seen.multi_label:
                    own = tf.one_hot(labels, seen.num_outputs)
                    loss = tf.nn.sigmoid_cross_entropy_with_logits(own, scores)
                else:
                    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            return tape.gradient(loss, x)

        return slope

    function = seen.traced("loss", make)
    parts = batches(len(inputs))
    return np.concatenate(
        [function(tf.constant(inputs[part]), tf.constant(labels[part])).numpy() for part in parts]
    )


def _descend(
    model: Model,
    inputs: np.ndarray,
    start: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    rate: float | None,
    steps: int,
    bounds: Bounds,
) -> np.ndarray:
    if not epsilon >= 0 or steps < 1:
        raise ValueError(
            f"attack: got epsilon {epsilon} and {steps} steps; expected 0 or more, and 1 or more."
        )
    seen = Classifier.of(model)
    inputs = within_bounds(seen, inputs, bounds, who="attack")
    labels, there = seen.classes(inputs, labels), np.asarray(start, np.float32).clip(*bounds)
    rate = 2.5 * epsilon / steps if rate is None else rate
    for _ in range(steps):
        there = there + np.float32(rate) * np.sign(loss_slope(seen, there, labels))
        there = inputs + (there - inputs).clip(-epsilon, epsilon)
        there = there.clip(*bounds).astype(np.float32)
    return there
