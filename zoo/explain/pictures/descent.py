"""A picture that is optimised: one loop for inversion, dreams, textures and styles.

Sources: L-BFGS for pictures, Gatys et al. 2015, arXiv:1505.07376, section 3; octaves, Mordvintsev
et al. 2015, "Inceptionism" (Google Research blog) and its notebook: what a small picture has won is
made larger and added to the next one. Values are intensities in [0, 1], and stay there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from PIL import Image
from scipy import optimize

from zoo.explain.pictures.ways import Descent

Terms: TypeAlias = Mapping[str, Any]  # what is minimised is their sum
Loss: TypeAlias = Callable[[Any], Terms]  # of a tensor (1, height, width, channels)
Watch: TypeAlias = Callable[["Stage"], None]
SMALLEST = 32  # pixels of a side in an octave
CORRECTIONS = 10  # steps that L-BFGS remembers
TRIES = 1.25  # evaluations for each step of L-BFGS, at most
MOMENTS = 0.9, 0.999  # of Adam


class Stage(NamedTuple):
    """A picture on its way.

    Attributes:
        step: Steps that were taken, of all octaves.
        picture: (height, width, channels), float32.
        loss: What is minimised.
    """

    step: int
    picture: np.ndarray
    loss: float


class Painted(NamedTuple):
    """A picture that was optimised.

    Attributes:
        picture: (height, width, channels), float32, in [0, 1].
        losses: After each step of the last octave, its start among them, (steps + 1,).
        terms: What the last loss consists of.
    """

    picture: np.ndarray
    losses: np.ndarray
    terms: dict[str, float]


def paint(
    base: np.ndarray,
    loss_at: Callable[[tuple[int, int]], Loss],
    how: Descent,
    *,
    watch: Watch | None = None,
) -> Painted:
    """Optimises a picture, octave by octave.

    Args:
        base: Where it starts, intensities (height, width, channels).
        loss_at: The loss of pictures of a height and width.
        how: The way.
        watch: Is shown the picture after every step.

    Raises:
        ValueError: A setting is out of range.
    """
    if how.steps < 1 or how.octaves < 1 or how.rate <= 0 or how.shrink <= 1 or how.jitter < 0:
        raise ValueError(
            f"Descent: got {how.steps} steps, {how.octaves} octaves, rate {how.rate:g}, shrink "
            f"{how.shrink:g}, jitter {how.jitter}; expected 1 or more, 1 or more, above 0, above 1,"
            " 0 or more."
        )
    random, won, before = np.random.RandomState(how.seed), None, 0
    for size in sizes(base.shape[:2], how):
        small = resized(base, size)
        start = small if won is None else small + resized(won, size)
        made = _descended(loss_at(size), start.clip(0, 1), how, random, before, watch)
        won, before = made.picture - small, before + len(made.losses) - 1
    return made


def sizes(shape: tuple[int, ...], how: Descent) -> list[tuple[int, int]]:
    """Returns the heights and widths of the octaves, the smallest first."""
    found = []
    for octave in range(how.octaves):
        size = tuple(max(1, round(side / how.shrink**octave)) for side in shape)
        if octave and min(size) < SMALLEST:
            break
        found.append((size[0], size[1]))
    return found[::-1]


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns values (height, width, channels) at another height and width, by cubics, float32."""
    picture = np.asarray(picture, np.float32)
    if picture.shape[:2] == tuple(size):
        return picture
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(size[::-1], Image.Resampling.BICUBIC)
        for plane in picture.transpose(2, 0, 1)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _descended(
    loss: Loss,
    start: np.ndarray,
    how: Descent,
    random: np.random.RandomState,
    before: int,
    watch: Watch | None,
) -> Painted:
    """Optimises a picture of one size."""

    @tf.function(autograph=False)
    def derive(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            terms = {name: tf.reduce_sum(term) for name, term in loss(x).items()}
            total = tf.add_n(list(terms.values()))
        return total, tape.gradient(total, x, unconnected_gradients="zero"), terms

    losses: list[float] = []

    def note(picture: np.ndarray, value: float) -> None:
        losses.append(value)
        if watch is not None and len(losses) > 1:
            watch(Stage(before + len(losses) - 1, picture[0], value))

    x = np.asarray(start, np.float32)[None]
    x = (_by_lbfgs if how.optimizer == "lbfgs" else _by_steps)(derive, x, how, random, note)
    total, _, terms = derive(tf.constant(x))
    if how.optimizer != "lbfgs":
        note(x, float(total))
    return Painted(x[0], np.array(losses), {name: float(value) for name, value in terms.items()})


def _by_lbfgs(derive: Any, x: np.ndarray, how: Descent, random: Any, note: Any) -> np.ndarray:
    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope, _ = derive(tf.constant(flat.reshape(x.shape).astype(np.float32)))
        return float(total), slope.numpy().astype(np.float64).ravel()

    def callback(intermediate_result: Any) -> None:
        note(intermediate_result.x.reshape(x.shape).astype(np.float32), intermediate_result.fun)

    flat = x.astype(np.float64).ravel()
    note(x, evaluate(flat)[0])
    found = optimize.minimize(
        evaluate,
        flat,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(0, 1),
        callback=callback,
        options={
            "maxiter": how.steps,
            "maxfun": max(int(TRIES * how.steps), how.steps + 5),
            "maxcor": CORRECTIONS,
            "ftol": 0.0,
            "gtol": 0.0,
        },
    )
    return np.asarray(found.x.reshape(x.shape), np.float32).clip(0, 1)


def _by_steps(derive: Any, x: np.ndarray, how: Descent, random: Any, note: Any) -> np.ndarray:
    first, second = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, how.steps + 1):
        move = random.randint(-how.jitter, how.jitter + 1, 2)
        total, slope, _ = derive(tf.constant(np.roll(x, move, axis=(1, 2))))
        note(x, float(total))
        slope = np.roll(slope.numpy(), -move, axis=(1, 2))
        if how.optimizer == "adam":
            fast, slow = MOMENTS
            first = fast * first + (1 - fast) * slope
            second = slow * second + (1 - slow) * slope**2
            slope = first / (1 - fast**step) / (np.sqrt(second / (1 - slow**step)) + 1e-8)
        else:
            slope = slope / (np.abs(slope).mean() + 1e-12)
        x = (x - how.rate * slope).clip(0, 1).astype(np.float32)
    return x
