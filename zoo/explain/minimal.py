"""Adversarial examples as near as can be: the smallest change that makes a net name another class.

Sources: DeepFool, Moosavi-Dezfooli et al. 2015, arXiv:1511.04599, algorithm 2; Carlini & Wagner
2016, arXiv:1608.04644, section 6 A (L2). Differs: the constant of Carlini & Wagner is given, and
the same for all pictures; the paper searches for the smallest that fools, picture by picture.

Everything is in the units of the model's inputs: `bounds` are the least and the greatest value that
a picture has there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.explain.classifier import Classifier, Model, batches

Bounds = tuple[float, float]
UNIT: Bounds = (0.0, 1.0)
SLACK = 1e-4  # of the span, by which rounding may put a value beyond the bounds


class Fooled(NamedTuple):
    """Pictures that were changed as little as an attack found.

    Attributes:
        inputs: The changed pictures, (n, height, width, channels), float32.
        fooled: Whether each is named otherwise, (n,).
        distance: Euclidean distance of each from what it was, (n,).
    """

    inputs: np.ndarray
    fooled: np.ndarray
    distance: np.ndarray


def within_bounds(seen: Classifier, inputs: Any, bounds: Bounds, *, who: str) -> np.ndarray:
    """Returns inputs as the model reads them, of which all values lie within the bounds.

    Args:
        seen: A classifier.
        inputs: What it reads, (n, height, width, channels).
        bounds: The least and the greatest value of a picture.
        who: What opens an error line.

    Raises:
        ValueError: A value lies outside, where an attack would cut it off, or the bounds do not
            rise.
    """
    found, (low, high) = seen.reads(inputs), bounds
    least, most = float(found.min()), float(found.max())
    if not low < high:
        raise ValueError(f"{who}: got bounds {bounds}; expected bounds that rise.")
    if least < low - SLACK * (high - low) or most > high + SLACK * (high - low):
        wider = (0, 255) if least >= 0 and 1 < most <= 255 else (round(least, 4), round(most, 4))
        raise ValueError(
            f"{who}: got inputs of {least:.4g} to {most:.4g} for bounds of {low:g} to {high:g}; "
            f"expected inputs within. Pass the ends of what the model reads, e.g. bounds={wider}."
        )
    return found


def deepfool(
    model: Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    bounds: Bounds = UNIT,
    most: int = 10,
) -> Fooled:
    """Returns pictures just beyond the nearest border, by steps to the borders' tangent planes.

    Args:
        model: A classifier.
        inputs: What it reads.
        labels: The true classes, (n,); what is named otherwise stays as it is.
        steps: Steps at most.
        overshoot: By which fraction the way is longer than it seems to have to be.
        bounds: The least and the greatest value of a picture.
        most: Classes that are looked at, the likeliest ones.

    Raises:
        ValueError: A value of the inputs lies outside the bounds.
    """
    seen = Classifier.of(model)
    start = within_bounds(seen, inputs, bounds, who="deepfool")
    labels, there = seen.classes(start, labels), start.copy()
    scores = seen.scores(start)
    near = np.argsort(-scores, axis=1)[:, :most]  # as the paper does with ImageNet's classes
    for _ in range(steps):
        scores = seen.scores(there)
        going = np.flatnonzero(scores.argmax(axis=1) == labels)
        if not going.size:
            break
        x, own = there[going], labels[going]
        base = seen.gradient(x, own)[0]
        best, step = np.full(len(going), np.inf), np.zeros_like(x)
        for place in range(near.shape[1]):
            other = near[going, place].astype(np.int32)
            way = seen.gradient(x, other)[0] - base  # (going, h, w, c)
            gap = np.abs(scores[going, other] - scores[going, own])
            norm = np.sqrt((way**2).sum(axis=(1, 2, 3))) + 1e-12
            far = np.where(other == own, np.inf, gap / norm)
            nearer = far < best
            best[nearer] = far[nearer]
            scale = (gap / norm**2)[:, None, None, None]
            step[nearer] = (scale * way)[nearer]
        there[going] = (x + (1 + overshoot) * step).clip(*bounds)
    return _fooled(seen, there, start, labels)


def carlini_wagner(
    model: Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    constant: float = 1.0,
    steps: int = 100,
    rate: float = 0.01,
    bounds: Bounds = UNIT,
) -> Fooled:
    """Returns pictures of a small distance that are named otherwise; the inputs where none was met.

    What is made smallest, by Adam over w with x = tanh(w) within the bounds, is the squared
    distance + constant * max(score of the label - the best other score, 0).

    Args:
        model: A classifier.
        inputs: What it reads.
        labels: The true classes, (n,).
        constant: Weight of being named otherwise; larger ones succeed more often, further away.
        steps: Steps of Adam.
        rate: Their rate.
        bounds: The least and the greatest value of a picture.

    Raises:
        ValueError: A value of the inputs lies outside the bounds.
    """
    seen = Classifier.of(model)
    start = within_bounds(seen, inputs, bounds, who="carlini_wagner")
    labels = seen.classes(start, labels)
    low, high = bounds
    unit = (start - low) / (high - low)
    w = np.arctanh((2 * unit - 1).clip(-1 + 1e-6, 1 - 1e-6)).astype(np.float32)
    first, second = np.zeros_like(w), np.zeros_like(w)
    best, found = np.full(len(start), np.inf), start.copy()
    slope = _cw_slope(seen, low, high)
    for step in range(1, steps + 1):
        parts = [
            [one.numpy() for one in slope(w[part], start[part], labels[part], np.float32(constant))]
            for part in batches(len(start))
        ]
        gradient, x, squared, named = (np.concatenate(one) for one in zip(*parts, strict=True))
        better = (named != labels) & (squared < best)
        best[better], found[better] = squared[better], x[better]
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        root = np.sqrt(second) / np.sqrt(1 - 0.999**step) + 1e-8
        w -= (rate / (1 - 0.9**step) * first / root).astype(np.float32)
    return _fooled(seen, found, start, labels)


def _cw_slope(seen: Classifier, low: float, high: float) -> Any:
    def make() -> Any:
        @tf.function(autograph=False, reduce_retracing=True)
        def slope(w: Any, start: Any, labels: Any, constant: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(w)
                x = low + (high - low) * (tf.tanh(w) + 1) / 2
                scores = seen.run(x)[0]
                own = tf.gather(scores, labels, batch_dims=1)
                hidden = tf.one_hot(labels, tf.shape(scores)[1], on_value=np.inf, off_value=0.0)
                other = tf.reduce_max(scores - hidden, axis=1)
                squared = tf.reduce_sum((x - start) ** 2, axis=(1, 2, 3))
                loss = squared + constant * tf.maximum(own - other, 0.0)
            gradient = tape.gradient(loss, w)
            return gradient, x, squared, tf.argmax(scores, axis=1, output_type=tf.int32)

        return slope

    return seen.traced(("carlini_wagner", low, high), make)


def _fooled(seen: Classifier, there: np.ndarray, start: np.ndarray, labels: np.ndarray) -> Fooled:
    distance = np.sqrt(((there - start) ** 2).sum(axis=(1, 2, 3)))
    return Fooled(there, seen.scores(there).argmax(axis=1) != labels, distance)
