"""A picture that a class or a unit answers to most strongly, climbed to from a random one.

Sources: Simonyan et al. 2013, arXiv:1312.6034, section 2 (L2); Yosinski et al. 2015,
arXiv:1506.06579, section 3 (blur); Mahendran & Vedaldi 2016, arXiv:1512.02017, section 4 (total
variation, jitter). Differs: the gradient is divided by its root mean square, so that a step is a
fraction of the inputs' span whatever the net's scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from zoo.explain.classifier import Classifier, Model
from zoo.explain.units import check_unit


class Ascent(NamedTuple):
    """How a picture is climbed to.

    Attributes:
        steps: Steps, 1 or more.
        rate: Length of the first step, as a fraction of the span of `bounds`; it falls to a tenth.
        l2: How much of the way back to the middle of the bounds each step takes, 0 to 1.
        blur: Standard deviation of a blur in every fourth step, in pixels; 0: none.
        jitter: By how many pixels the picture is moved at most before each step, and back.
        variation: Weight of the total variation's gradient, beside the answer's of 1.
        bounds: The least and the greatest value that the model's inputs have.
        seed: Seed of the first picture, and of the jitter.
    """

    steps: int = 200
    rate: float = 0.1
    l2: float = 0.001
    blur: float = 0.3
    jitter: int = 2
    variation: float = 0.1
    bounds: tuple[float, float] = (0.0, 1.0)
    seed: int = 0


class Climbed(NamedTuple):
    """A picture that was climbed to.

    Attributes:
        picture: As the model reads it, (height, width, channels), float32.
        start: What the first picture was answered with.
        end: What this one is.
        answers: Along the way, both among them, (steps + 1,).
    """

    picture: np.ndarray
    start: float
    end: float
    answers: np.ndarray


def class_image(model: Model, index: int, how: Ascent | None = None) -> Climbed:
    """Returns a picture that has a high score for a class.

    Args:
        model: A classifier of pictures of a known size.
        index: The class.
        how: The way up.

    Raises:
        ValueError: There is no such class.
    """
    seen = Classifier.of(model)
    seen.classes(np.zeros((1, 1)), index)
    return _climb(seen, lambda x: seen.run(x)[0][:, index], how or Ascent())


def neuron(
    model: Model, layer: str | None = None, *, unit: int, how: Ascent | None = None
) -> Climbed:
    """Returns a picture that a unit of a layer answers to strongly; of maps, their mean does.

    Args:
        model: A classifier of pictures of a known size.
        layer: Path of the layer; `None`: the last map.
        unit: Which unit, or channel.
        how: The way up.

    Raises:
        ValueError: There is no such layer or unit.
    """
    seen = Classifier.of(model)
    path = seen.last_map() if layer is None else seen.find_layer(layer)
    check_unit(seen, path, unit)

    def answer(x: Any) -> Any:
        values = tf.cast(seen.run(x, layer=path)[1], tf.float32)[..., unit]
        return tf.reduce_mean(tf.reshape(values, (1, -1)), axis=1)

    return _climb(seen, answer, how or Ascent())


def _climb(seen: Classifier, answer: Callable[[Any], Any], how: Ascent) -> Climbed:
    if how.steps < 1 or not how.bounds[0] < how.bounds[1]:
        raise ValueError(
            f"Ascent: got {how.steps} steps within {how.bounds}; expected 1 or more, and bounds "
            "that rise."
        )
    sides = [side for side in seen.input_shape if side is not None]
    if len(sides) != len(seen.input_shape):
        raise ValueError(
            f"{seen.model.name}: reads {seen.input_shape}; expected pictures of a known size."
        )

    @tf.function(autograph=False)
    def slope(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = answer(x)
        return tape.gradient(value, x, unconnected_gradients="zero"), value

    low, high = how.bounds
    span, middle = high - low, (high + low) / 2
    random = np.random.RandomState(how.seed)
    picture = middle + 0.1 * span * random.standard_normal((1, *sides))
    picture = picture.clip(low, high).astype(np.float32)
    answers = [float(slope(tf.constant(picture))[1][0])]
    for step in range(how.steps):
        move = random.randint(-how.jitter, how.jitter + 1, 2)
        gradient = slope(tf.constant(np.roll(picture, move, axis=(1, 2))))[0].numpy()
        gradient = np.roll(gradient, -move, axis=(1, 2))
        gradient /= np.sqrt(np.mean(gradient**2)) + 1e-12
        gradient -= how.variation * variation_slope(picture, span)
        rate = how.rate * 0.1 ** (step / how.steps)
        picture = picture + rate * span * gradient - how.l2 * (picture - middle)
        if how.blur and step % 4 == 3 and step < how.steps - 4:
            picture = gaussian_filter(picture, (0, how.blur, how.blur, 0), mode="nearest")
        picture = picture.clip(low, high).astype(np.float32)
        answers.append(float(slope(tf.constant(picture))[1][0]))
    return Climbed(picture[0], answers[0], answers[-1], np.array(answers))


def variation_slope(picture: np.ndarray, span: float) -> np.ndarray:
    """Returns the gradient of the total variation, the sum of |differences| of neighbours.

    Args:
        picture: (1, height, width, channels).
        span: Differences of less than a hundredth of it count in part.
    """
    slope = np.zeros_like(picture)
    for axis in (1, 2):
        sign = np.clip(np.diff(picture, axis=axis) / (0.01 * span), -1, 1)
        ends = [(0, 0)] * 4
        ends[axis] = (1, 1)
        slope -= np.diff(np.pad(sign, ends), axis=axis)
    return slope
