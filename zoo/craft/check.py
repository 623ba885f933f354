"""What to look at before a long training: is the net sound, and does it learn at all?

Source: Karpathy 2015, CS231n notes, "Learning": gradient checks, sanity checks of the first loss,
overfitting a tiny subset, activations and gradients by layer.

    gradient     backpropagation against finite differences: `zoo.craft.gradients`
    first loss   at outputs of 0 against its closed form; of the fresh net at most 3 times that
    overfits     20 examples to a fiftieth of that, all of them right, in at most 3 x 200 steps
    dead, saturated, vanishing, exploding     layer by layer: `zoo.craft.health`
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo import losses
from zoo.craft import gradients, health
from zoo.craft.copies import copy
from zoo.craft.finding import Finding, Verdict
from zoo.recipe import Recipe
from zoo.tasks import choose
from zoo.training.heads import minimised
from zoo.training.run import Run

FEW, SOME, MANY = 4, 20, 32  # examples for finite differences, to overfit, to look at layers
LARGE = 10_000_000  # weights, from which on fewer slopes are compared
HIGH, TOO_HIGH = 3.0, 10.0  # fresh loss over the loss at outputs of 0: warns, fails
LEARNT = 0.02  # share of the first loss that is left when the examples are learnt by heart
RATES = (1e-3, 1e-4, 1e-2)  # of Adam, one after another
SMALL, RATES_OF_SMALL = 1000, (1e-2, 1e-1, 1.0)  # weights; each must do more, and none is deep
STEPS, QUICK_STEPS = 200, 100  # at each rate


@dataclass(frozen=True)
class Bench:
    """A fresh model with all that its checks need.

    Attributes:
        model: Functional, float32, plain Keras; the checks leave it as it is.
        loss: What training minimises, (labels, outputs) to (batch,); the outputs are all heads'.
        hits: Whether an example is right, (labels, outputs) to (batch,); `None` for numbers.
        images: Training inputs, at least `MANY` where there are as many, (n, ...).
        labels: (n,).
        first: The loss of outputs that are all 0; `None` where it depends on the labels.
    """

    model: keras.Model
    loss: Any
    images: np.ndarray
    labels: np.ndarray
    first: float | None = None
    hits: Any = None


def bench(recipe: Recipe) -> tuple[Run, Bench]:
    """Returns the run of a recipe and its fresh model, ready to be checked.

    The loss is the recipe's without label smoothing; penalties on the weights are left out.
    """
    run = Run(recipe)
    train = recipe.train.model_copy(update={"label_smoothing": 0.0})
    task = choose(train, run.data)

    def loss(labels: Any, outputs: Any) -> Any:
        return minimised(task, labels, outputs, train.auxiliary_weight)

    def hits(labels: Any, outputs: Any) -> Any:
        return task.measures(labels, keras.tree.flatten(outputs)[0])["top1"]

    model = run.create()
    count = min(MANY, len(run.data.train))
    first = losses.first(_loss_name(recipe, run), run.task.num_outputs)
    if first is not None:
        first *= 1 + (len(model.outputs) - 1) * train.auxiliary_weight
    return run, Bench(
        model,
        loss,
        run.samples(count),
        run.data.train.labels[:count],
        first,
        hits if run.data.target == "class" else None,
    )


def check(bench: Bench, *, quick: bool = False, seed: int = 0) -> Iterator[Finding]:
    """Gives one finding after another, the cheap ones first.

    Args:
        bench: What to check.
        quick: Whether to compare fewer slopes and to train for fewer steps.
        seed: Seed of the choice of weights.
    """
    first = first_loss(bench)
    yield first
    layers = health.measure(bench.model, bench.loss, *_examples(bench, _affordable(bench.model)))
    yield from (health.dead(layers), health.saturated(layers), health.vanishing(layers))
    yield health.exploding(layers, first.values["zero_outputs"])
    coordinates = 2 if quick else 3 if bench.model.count_params() > LARGE else 6
    yield gradient(bench, coordinates=coordinates, seed=seed)
    yield overfits(bench, steps=QUICK_STEPS if quick else STEPS)


def first_loss(bench: Bench) -> Finding:
    """Compares the first loss with what it must be."""
    images, labels = _examples(bench, _affordable(bench.model))
    outputs = copy(bench.model, still=True)(images, training=True)
    fresh = _mean(bench.loss(labels, outputs))
    zeros = keras.tree.map_structure(keras.ops.zeros_like, outputs)
    level = _mean(bench.loss(labels, zeros))
    values = {"zero_outputs": level, "closed_form": bench.first, "fresh": fresh}
    known = "" if bench.first is None else f" (closed form {bench.first:.4f})"
    measured = f"{level:.4f} at outputs of 0{known}, {fresh:.4f} fresh"
    verdict: Verdict = "ok"
    remedy = ""
    if bench.first is not None and not math.isclose(level, bench.first, rel_tol=1e-4, abs_tol=1e-6):
        verdict, remedy = "FAIL", "the loss is not the one it is called: check its formula"
    elif not fresh <= TOO_HIGH * max(level, 1.0):
        verdict, remedy = "FAIL", "the fresh outputs are far too large: scale the last layer down"
    elif fresh > HIGH * max(level, 1.0):
        verdict, remedy = "warn", "the fresh outputs are large: start the last layer smaller"
    return Finding("first loss", measured, verdict, remedy, values)


def gradient(bench: Bench, *, coordinates: int = 6, seed: int = 0) -> Finding:
    """Compares backpropagation with finite differences."""
    few = _examples(bench, FEW)
    slopes = gradients.check(bench.model, bench.loss, *few, coordinates=coordinates, seed=seed)
    if not slopes:
        return Finding("gradient", "the model has no weights", "warn", "nothing here learns")
    worst = max(slopes, key=lambda slope: slope.error)
    kinds = {s.kind: max(t.error for t in slopes if t.kind == s.kind) for s in slopes}
    measured = (
        f"largest relative error {worst.error:.1e} ({worst.path}), {len(slopes)} slopes along "
        f"{len(kinds)} kinds of weights"
    )
    values = {"error": worst.error, "path": worst.path, "kinds": kinds}
    if worst.error > gradients.WRONG or math.isnan(worst.error):
        wrong = ", ".join(kind for kind, error in kinds.items() if error > gradients.WRONG)
        remedy = f"the gradient is wrong: check the backward pass of {wrong}, and of what follows"
        return Finding("gradient", measured, "FAIL", remedy, values)
    if all(slope.backward == 0 for slope in slopes):
        return Finding("gradient", "every slope is 0", "warn", "see dead and vanishing", values)
    if worst.error > gradients.GOOD:
        remedy = "a kink nearby, or a layer that computes in float32 whatever it is given"
        return Finding("gradient", measured, "warn", remedy, values)
    return Finding("gradient", measured, values=values)


def overfits(bench: Bench, *, steps: int = STEPS) -> Finding:
    """Learns a few examples by heart: no augmentation, no dropout, no penalty.

    A model with less than two weights for an output and an example gets fewer examples.
    """
    weights = sum(math.prod(v.shape) for v in bench.model.trainable_variables)
    outputs = sum(output.shape[-1] for output in bench.model.outputs)
    count = max(1, min(SOME, weights // (2 * outputs)))
    images, labels = _examples(bench, count)
    best = math.inf, math.inf, 0, 0.0, 0  # goal apart, loss, wrong ones, rate, steps
    for rate in RATES_OF_SMALL if weights < SMALL else RATES:
        goal, loss, wrong, taken = _learn(bench, images, labels, rate, steps)
        best = min(best, (loss / goal if goal else math.inf, loss, wrong, rate, taken))
        if loss <= goal and not wrong:
            break
    apart, loss, wrong, rate, taken = best
    measured = f"loss {loss:.2g} on {len(images)} examples after {taken} steps of Adam at {rate:g}"
    if bench.hits is not None:
        measured += f", {wrong} wrong"
    values = {"loss": loss, "examples": len(images), "wrong": wrong, "steps": taken, "rate": rate}
    if apart <= 1 and not wrong:
        return Finding("overfits", measured, values=values)
    remedy = "it cannot learn even these: check labels, loss and the path of the gradient"
    return Finding("overfits", measured, "FAIL", remedy, values)


def _learn(
    bench: Bench, images: np.ndarray, labels: np.ndarray, rate: float, steps: int
) -> tuple[float, float, int, int]:
    """Trains a copy on all examples at once, until they are learnt or the steps are over.

    Returns:
        The loss to reach, the loss reached, the number of wrong examples, the number of steps.
    """
    model = copy(bench.model, still=True)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step() -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            value = tf.reduce_mean(bench.loss(labels, outputs))
        weights = [v.value for v in model.trainable_variables]
        slopes = tape.gradient(value, weights, unconnected_gradients="zero")
        optimizer.apply(slopes, model.trainable_variables)
        return value, tf.constant(0.0) if bench.hits is None else _wrong(bench, labels, outputs)

    goal, value, wrong, taken = 0.0, math.inf, 0, 0
    for taken in range(1, steps + 1):
        loss, mistakes = step()  # before the step's own change
        value, wrong = float(loss), int(mistakes)
        if taken == 1:
            goal = LEARNT * (bench.first or value)
        if (value <= goal and not wrong) or not math.isfinite(value):
            break
    return goal, value, wrong, taken


def _affordable(model: keras.Model) -> int:
    """Examples whose activations, all kept for the gradient, take less than about 2 GB."""
    numbers = sum(
        math.prod(d or 1 for d in tensor.shape)
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.output)
    )
    return max(FEW, min(MANY, 2**28 // max(1, numbers)))


def _examples(bench: Bench, count: int) -> tuple[np.ndarray, np.ndarray]:
    return bench.images[:count], bench.labels[:count]


def _mean(values: Any) -> float:
    return float(np.mean(keras.ops.convert_to_numpy(values), dtype="float64"))


def _wrong(bench: Bench, labels: Any, outputs: Any) -> Any:
    return tf.reduce_sum(1 - bench.hits(labels, outputs))


def _loss_name(recipe: Recipe, run: Run) -> str:
    if recipe.train.loss != "auto":
        return recipe.train.loss
    return "mse" if run.data.target == "number" else "cross_entropy"
