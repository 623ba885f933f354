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
from collections.abc import Iterator, Mapping
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
from zoo.tasks import supervised
from zoo.tasks.labels.classify import Labelled
from zoo.tasks.supervised import Supervised, divided
from zoo.tasks.task import Seen, Task
from zoo.training import steps
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
    """Fresh networks with all that their checks need.

    Attributes:
        networks: Functional, float32, plain Keras, by name; the checks leave them as they are.
        task: What training minimises; the checks are of its first objective.
        columns: Training examples, at least `MANY` where there are as many, (n, ...).
        first: The loss of outputs that are all 0; `None` where it depends on the labels.
    """

    networks: dict[str, keras.Model]
    task: Task
    columns: Mapping[str, np.ndarray]
    first: float | None = None

    @property
    def learning(self) -> list[keras.Model]:
        """The networks that learn by the first objective."""
        return [self.networks[name] for name in self.task.objectives()[0].learns]

    def batch(self, count: int) -> dict[str, np.ndarray]:
        """Returns the first examples, all of weight 1."""
        columns = {name: values[:count] for name, values in self.columns.items()}
        num = len(next(iter(columns.values())))
        return {**columns, "weight": np.ones(num, np.float32)}

    def mean(self, seen: Seen) -> float:
        """Returns the mean loss of all examples that were seen."""
        values, weights = (
            keras.ops.convert_to_numpy(x).astype(float)
            for x in steps.weighed(seen.loss, self.batch(len(seen.loss.values)))
        )
        return float((values * weights).sum() / weights.sum())

    def wrong(self, seen: Seen) -> Any | None:
        """Returns the number of wrong answers; `None` where an answer is not right or wrong."""
        if "top1" not in seen.measures or len(seen.measures["top1"].values.shape) > 1:
            return None  # of a text some characters are nobody's to know
        return tf.reduce_sum(1 - seen.measures["top1"].values)


def bench(recipe: Recipe) -> tuple[Run, Bench]:
    """Returns the run of a recipe and its fresh networks, ready to be checked.

    The loss is the recipe's without label smoothing; penalties on the weights are left out.
    """
    run = Run(recipe)
    networks = run.create()
    task = run.task
    if getattr(task, "label_smoothing", 0):
        task = task.model_copy(update={"label_smoothing": 0.0})
    if run.origin.acted:  # what is learnt from is what the networks have done
        given = next(run.origin.fixed(networks).batches(run.machine.strategy, networks=networks))
        columns = {name: values.numpy() for name, values in given.items() if name != "weight"}
    else:
        columns = run.columns(run.raw("train", min(MANY, run.examples("train"))))
    return run, Bench(networks, task, columns, _first(task, run))


def _first(task: Task, run: Run) -> float | None:
    """The loss of outputs that are all 0, by its closed form, with that of auxiliary heads."""
    if not isinstance(task, Labelled) or "net" not in run.networks:
        return None
    first = losses.first(task.loss.kind, task.sizes(run.data)["num_classes"])
    if first is None or task.loss.changes:
        return None
    _, others = divided(run.networks["net"].output)
    return first * (1 + len(others) * task.auxiliary_weight)


def run_checks(bench: Bench, *, quick: bool = False, seed: int = 0) -> Iterator[Finding]:
    """Gives one finding after another, the cheap ones first.

    Args:
        bench: What to check.
        quick: Whether to compare fewer slopes and to train for fewer steps.
        seed: Seed of the choice of weights.
    """
    first = first_loss(bench)
    yield first
    layers = health.layer_health(bench.task, bench.networks, bench.batch(_affordable(bench)))
    yield from (health.dead(layers), health.saturated(layers), health.vanishing(layers))
    yield health.exploding(layers, first.values["zero_outputs"] or 1.0)
    large = sum(model.count_params() for model in bench.learning) > LARGE
    yield gradient(bench, coordinates=2 if quick else 3 if large else 6, seed=seed)
    if len(bench.task.objectives()) == 1:  # of several that play a game none has a goal of its own
        yield overfits(bench, num_steps=QUICK_STEPS if quick else STEPS)


def first_loss(bench: Bench) -> Finding:
    """Compares the first loss with what it must be."""
    batch = bench.batch(_affordable(bench))
    networks = _copies(bench)
    objective = bench.task.objectives()[0].name
    fresh = bench.mean(bench.task.look(objective, networks, batch, training=True))
    level = _at_zero(bench, networks, batch)
    values = {"zero_outputs": level, "closed_form": bench.first, "fresh": fresh}
    if level is None:
        verdict: Verdict = "ok" if math.isfinite(fresh) else "FAIL"
        return Finding("first loss", f"{fresh:.4f} fresh", verdict, "", values)
    known = "" if bench.first is None else f" (closed form {bench.first:.4f})"
    measured = f"{level:.4f} at outputs of 0{known}, {fresh:.4f} fresh"
    verdict, remedy = "ok", ""
    if bench.first is not None and not math.isclose(level, bench.first, rel_tol=1e-4, abs_tol=1e-6):
        verdict, remedy = "FAIL", "the loss is not the one it is called: check its formula"
    elif not fresh <= TOO_HIGH * max(level, 1.0):
        verdict, remedy = "FAIL", "the fresh outputs are far too large: scale the last layer down"
    elif fresh > HIGH * max(level, 1.0):
        verdict, remedy = "warn", "the fresh outputs are large: start the last layer smaller"
    return Finding("first loss", measured, verdict, remedy, values)


def _at_zero(
    bench: Bench, networks: Mapping[str, keras.Model], batch: Mapping[str, Any]
) -> float | None:
    """The loss of outputs that are all 0; `None` for a task of several networks."""
    if not isinstance(bench.task, Supervised) or "net" not in networks:
        return None
    outputs = supervised.run(networks["net"], batch, training=True)
    zeros = keras.tree.map_structure(keras.ops.zeros_like, outputs)
    return bench.mean(bench.task.judge(batch, zeros))


def gradient(bench: Bench, *, coordinates: int = 6, seed: int = 0) -> Finding:
    """Compares backpropagation with finite differences."""
    few = bench.batch(FEW)
    slopes = gradients.compare_slopes(
        bench.task, bench.networks, few, coordinates=coordinates, seed=seed
    )
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


def overfits(bench: Bench, *, num_steps: int = STEPS) -> Finding:
    """Learns a few examples by heart: no augmentation, no dropout, no penalty.

    A model with less than two weights for an output and an example gets fewer examples.
    """
    weights = sum(math.prod(v.shape) for model in bench.learning for v in model.trainable_variables)
    length = np.shape(next(iter(bench.columns.values())))[1:2]  # of what varies: a text
    outputs = sum(
        math.prod(size or math.prod(length) for size in output.shape[1:])
        for model in bench.learning
        for output in model.outputs
    )
    count = max(1, min(SOME, weights // (2 * outputs)))
    batch = bench.batch(count)
    num = len(batch["weight"])
    best: tuple[Any, ...] = math.inf, math.inf, 0, 0.0, 0
    for rate in RATES_OF_SMALL if weights < SMALL else RATES:
        goal, loss, wrong, taken = _learn(bench, batch, rate, num_steps)
        # Goal apart, loss, wrong ones, rate, steps.
        found = (loss / goal if goal else math.inf, loss, wrong, rate, taken)
        best = min(best, found, key=lambda one: one[:2])
        if loss <= goal and not wrong:
            break
    apart, loss, wrong, rate, taken = best
    measured = f"loss {loss:.2g} on {num} examples after {taken} steps of Adam at {rate:g}"
    if wrong is not None:
        measured += f", {wrong} wrong"
    values = {"loss": loss, "examples": num, "wrong": wrong or 0, "steps": taken, "rate": rate}
    if apart <= 1 and not wrong:
        return Finding("overfits", measured, values=values)
    remedy = "it cannot learn even these: check labels, loss and the path of the gradient"
    return Finding("overfits", measured, "FAIL", remedy, values)


def _learn(
    bench: Bench, batch: Mapping[str, Any], rate: float, num_steps: int
) -> tuple[float, float, int | None, int]:
    """Trains copies on all examples at once, until they are learnt or the steps are over.

    Returns:
        The loss to reach, the loss reached, the number of wrong examples, the number of steps.
    """
    networks = _copies(bench)
    objective = bench.task.objectives()[0]
    variables = [v for name in objective.learns for v in networks[name].trainable_variables]
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step() -> tuple[Any, Any]:
        value, slopes, seen = steps.gradient(
            bench.task, objective, networks, batch, variables=variables
        )
        optimizer.apply(slopes, variables)
        wrong = bench.wrong(seen)
        return value, tf.constant(-1.0) if wrong is None else wrong

    goal, value, wrong, taken = 0.0, math.inf, -1, 0
    for taken in range(1, num_steps + 1):
        loss, mistakes = step()  # before the step's own change
        value, wrong = float(loss), int(mistakes)
        if taken == 1:
            goal = LEARNT * (bench.first or value)
        if (value <= goal and wrong <= 0) or not math.isfinite(value):
            break
    return goal, value, None if wrong < 0 else wrong, taken


def _copies(bench: Bench) -> dict[str, keras.Model]:
    """Copies of the networks that draw nothing at random."""
    return {name: copy(network, still=True) for name, network in bench.networks.items()}


def _affordable(bench: Bench) -> int:
    """Examples whose activations, all kept for the gradient, take less than about 2 GB."""
    numbers = sum(
        math.prod(d or 1 for d in tensor.shape)
        for model in bench.networks.values()
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.output)
    )
    return max(FEW, min(MANY, 2**28 // max(1, numbers)))
