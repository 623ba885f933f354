"""Pictures that classes or units answer to most strongly, climbed to from a random one.

Sources: Simonyan et al. 2013, arXiv:1312.6034, section 2 (L2); Yosinski et al. 2015,
arXiv:1506.06579, section 3 (blur); Mahendran & Vedaldi 2016, arXiv:1512.02017, section 4 (total
variation, jitter); Olah et al. 2017, Distill, Feature visualization (a step is longer along what is
coarse). Differs: the gradient is divided by its root mean square, so that a step is a fraction of
the inputs' span whatever the net's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from zoo.explain.classifier import Classifier, Model
from zoo.explain.units import check_unit, features

NOISES = 64  # pictures of noise that tell how much an answer varies by itself


class Ascent(NamedTuple):
    """How a picture is climbed to.

    Attributes:
        steps: Steps, 1 or more.
        rate: Length of the first step, as a fraction of the span of `bounds`; it falls to a tenth.
        l2: How much of the way back to the middle of the bounds each step takes, 0 to 1.
        blur: Standard deviation of a blur in every fourth step, in pixels; it falls to 0.
        jitter: By how many pixels the picture is moved at most before each step, and back.
        variation: Weight of the gradient of the total variation, of beta 1, beside the answer's
            of 1.
        coarse: By which power of its wavelength each wave of a step is longer, 0 or more.
        bounds: The least and the greatest value that the model's inputs have.
        seed: Seed of the first picture, and of the jitter.
    """

    steps: int = 200
    rate: float = 0.1
    l2: float = 0.001
    blur: float = 0.3
    jitter: int = 2
    variation: float = 0.1
    coarse: float = 0.5
    bounds: tuple[float, float] = (0.0, 1.0)
    seed: int = 0


class Climbed(NamedTuple):
    """A picture that was climbed to.

    Attributes:
        picture: As the model reads it, (height, width, channels), float32.
        start: What the first picture was answered with.
        end: What this one is.
        spread: Standard deviation of what pictures of mere noise are answered with.
        answers: Along the way, where the picture lay at each step, (steps,).
    """

    picture: np.ndarray
    start: float
    end: float
    spread: float
    answers: np.ndarray

    @property
    def gain(self) -> float:
        """How many times as far it rose as noise moves the answer.

        The quotient of `end` and `start` would say less: a logit has no zero of its own, since a
        softmax is the same when all logits rise, and may begin below it.
        """
        rise = self.end - self.start
        return rise / self.spread if self.spread else float(np.inf if rise > 0 else 0)


def class_image(model: Model, index: int, how: Ascent | None = None) -> Climbed:
    """Returns a picture that has a high score for a class; see `class_images`."""
    return class_images(model, [index], how)[0]


def class_images(model: Model, classes: Sequence[int], how: Ascent | None = None) -> list[Climbed]:
    """Returns a picture for each of some classes that has a high score for it.

    Args:
        model: A classifier of pictures of a known size.
        classes: The classes.
        how: The way up.

    Raises:
        ValueError: There is no such class.
    """
    seen = Classifier.of(model)
    wanted = seen.classes(np.zeros((len(classes), 1)), list(classes))

    return _climb(seen, None, wanted, how or Ascent())


def neuron(
    model: Model, layer: str | None = None, *, unit: int, how: Ascent | None = None
) -> Climbed:
    """Returns a picture that a unit answers to strongly; see `neurons`."""
    return neurons(model, layer, units=[unit], how=how)[0]


def neurons(
    model: Model, layer: str | None = None, *, units: Sequence[int], how: Ascent | None = None
) -> list[Climbed]:
    """Returns a picture for each of some units that it answers to strongly; of maps, their means.

    Args:
        model: A classifier of pictures of a known size.
        layer: Path of the layer; `None`: the last map.
        units: Which units, or channels.
        how: The way up.

    Raises:
        ValueError: There is no such layer or unit.
    """
    seen = Classifier.of(model)
    path = seen.last_map() if layer is None else seen.find_layer(layer)
    for unit in units:
        check_unit(seen, path, unit)

    return _climb(seen, path, np.asarray(list(units), np.int32), how or Ascent())


def _climb(seen: Classifier, path: str | None, chosen: np.ndarray, how: Ascent) -> list[Climbed]:
    """Climbs for each class, or each unit of a layer; all at once, from the same noise."""
    if how.steps < 1 or not how.bounds[0] < how.bounds[1]:
        raise ValueError(
            f"Ascent: got {how.steps} steps within {how.bounds}; expected 1 or more, and bounds "
            "that rise."
        )
    sides = seen.sides
    function = seen.traced(("climb", path), lambda: _slope(seen, path))
    low, high = how.bounds
    span, middle, num = high - low, (high + low) / 2, len(chosen)
    random = np.random.RandomState(how.seed)
    first = middle + 0.1 * span * random.standard_normal((1, *sides))
    pictures = np.repeat(first.clip(low, high), num, axis=0).astype(np.float32)
    start, waves = function(pictures, chosen)[1].numpy(), _waves(sides, how.coarse)
    answers = []
    for step in range(how.steps):
        left = 1 - step / how.steps
        move = random.randint(-how.jitter, how.jitter + 1, 2)
        found, value = function(np.roll(pictures, move, axis=(1, 2)), chosen)
        gradient = np.roll(found.numpy(), -move, axis=(1, 2))
        answers.append(value.numpy())
        if how.coarse:
            gradient = np.fft.irfft2(waves * np.fft.rfft2(gradient, axes=(1, 2)), sides[:2], (1, 2))
        gradient /= np.sqrt(np.mean(gradient**2, axis=(1, 2, 3), keepdims=True)) + 1e-12
        gradient -= how.variation * variation_slope(pictures, span)
        rate = how.rate * 0.1 ** (1 - left)
        pictures = pictures + rate * span * gradient - how.l2 * (pictures - middle)
        if how.blur and step % 4 == 3 and step < how.steps - 4:
            sigma = how.blur * left
            pictures = gaussian_filter(pictures, (0, sigma, sigma, 0), mode="nearest")
        pictures = pictures.clip(low, high).astype(np.float32)
    end, spread = function(pictures, chosen)[1].numpy(), _spread(seen, path, chosen, how)
    way = np.array(answers)  # (steps, num)
    return [
        Climbed(pictures[i], float(start[i]), float(end[i]), float(spread[i]), way[:, i])
        for i in range(num)
    ]


def _waves(sides: Sequence[int], power: float) -> np.ndarray:
    """By how much each wave of a picture counts, (height, width / 2 + 1, 1)."""
    height, width = sides[:2]
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    return np.maximum(waves, 1 / max(height, width))[..., None] ** -power


def _slope(seen: Classifier, path: str | None) -> Any:
    """Gives the gradients of answers, and the answers: of a class, or of a unit's mean."""

    @tf.function(autograph=False, reduce_retracing=True)
    def slope(x: Any, chosen: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            scores, values = seen.run(x, layer=path)
            values = scores if path is None else tf.cast(values, tf.float32)
            if len(values.shape) > 2:
                values = tf.reduce_mean(values, axis=list(range(1, len(values.shape) - 1)))
            answers = tf.gather(values, chosen, batch_dims=1)
        return tape.gradient(answers, x, unconnected_gradients="zero"), answers

    return slope


def _spread(seen: Classifier, path: str | None, chosen: np.ndarray, how: Ascent) -> np.ndarray:
    """Deviations of the answers to pictures of uniform noise within the bounds, (chosen,)."""
    random = np.random.RandomState(how.seed + 1)
    noise = random.uniform(*how.bounds, (NOISES, *seen.sides)).astype(np.float32)
    found = seen.scores(noise) if path is None else features(seen, noise, path)
    return found[:, chosen].std(axis=0)


def variation_slope(pictures: np.ndarray, span: float) -> np.ndarray:
    """Returns the gradient of the total variation with beta 1, the sum of |differences|.

    With beta 2, which `zoo.losses.pictures.variation` has, edges would fade with the noise.

    Args:
        pictures: (n, height, width, channels).
        span: Differences of less than a hundredth of it count in part.
    """
    slope = np.zeros_like(pictures)
    for axis in (1, 2):
        sign = np.clip(np.diff(pictures, axis=axis) / (0.01 * span), -1, 1)
        ends = [(0, 0)] * 4
        ends[axis] = (1, 1)
        slope -= np.diff(np.pad(sign, ends), axis=axis)
    return slope
