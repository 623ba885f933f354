"""Searches settings of a recipe: at random in log space, on a grid, or by Parzen estimators.

Sources: Bergstra & Bengio 2012, Random search for hyper-parameter optimization, JMLR 13; Bergstra
et al. 2011, NIPS 24 (`tpe`). Optuna draws, and keeps the trials in a file of SQLite, so that a
search goes on after a kill. What a trial draws is a function of the seed and of the trials finished
before it: a search that was killed draws what one that was not would have drawn.

The objective is measured on the validation split, or on that of each fold; the test split is never
looked at. It is the headline of the task: top-1, or the mean squared error of numbers.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import optuna

from zoo import recipe as recipes
from zoo.bundle import RECIPE
from zoo.common.reading import one_line
from zoo.common.staging import claimed, staged_file
from zoo.craft import folds, plots, space
from zoo.craft import study as studies
from zoo.craft.plan import CSV, PLOT, Plan
from zoo.craft.space import Axis
from zoo.craft.study import Trial
from zoo.recipe import Recipe
from zoo.tasks.task import Metric
from zoo.training.history import DivergedError
from zoo.training.run import Run
from zoo.training.unfinished import facts_of

LOG = logging.getLogger("zoo")


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    Attributes:
        objective: Name of the task's headline, e.g. `top1`.
        trials: All finished trials, the failed ones too.
        best: The best of them; `None` when all failed.
    """

    objective: str
    trials: tuple[Trial, ...]
    best: Trial | None


def tune(plan: Plan, out: Path, *, resume: bool = False) -> Outcome:
    """Runs the trials that are still missing, and writes what was found to `out`.

    Args:
        plan: What is searched, and how.
        out: The directory; see `zoo.craft.plan.prepare`, which has refused a wrong one.
        resume: Whether to go on with the search of `out`.

    Raises:
        ValueError: The search of `out` is another one.
        BlockingIOError: Another process works in `out`.
        KeyboardInterrupt: It was asked to stop; `resume` goes on.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with claimed(out, mark=""):
        first = Run(plan.recipe)
        first.create()  # refuses what no trial could do
        headline = first.task.headline
        objective = headline.name
        if plan.folds > 1:
            next(folds.split(first.data, plan.folds, seed=plan.recipe.seed))
        facts = facts_of(first)
        made_of = {name: facts[name] for name in ("data", "preprocessing", "machine")}
        study = studies.begin(plan, out, maximise=headline.higher, made_of=made_of)
        total = plan.num_trials
        while len(trials := studies.finished(study)) < total:
            study.sampler = studies.sampler(plan, done=len(trials))
            _trial(study, plan, objective, f"{len(trials) + 1}/{total}")
            _write_table(plan.axes, objective, studies.finished(study), out / CSV)
        found = _outcome(headline, trials)
        _write_table(plan.axes, objective, trials, out / CSV)
        plots.search(
            plan.axes,
            [trial.values for trial in trials],
            [trial.objective for trial in trials],
            f"validation {objective}",
            out / PLOT,
        )
        if found.best:
            best = recipes.changed(plan.recipe, space.settings(found.best.values))
            with staged_file(out / RECIPE) as partial:
                partial.write_text(best.to_yaml())
    return found


def train_folds(recipe: Recipe, *, objective: str, num_folds: int) -> tuple[float, ...]:
    """Trains the recipe once for each fold; returns what each validation split says.

    Args:
        recipe: Resolved settings.
        objective: Name of a metric.
        num_folds: 1 takes the validation split of the data set.

    Raises:
        DivergedError: A training, or what it led to, is not finite.
        KeyboardInterrupt: It was asked to stop.
    """
    values = []
    with _hushed():
        whole = Run(recipe)
    for number, run in enumerate(folds.runs(whole, num_folds), start=1):
        with _hushed():
            value = _measure(run, objective)
        values.append(value)
        if num_folds > 1:
            LOG.info("  fold %d/%d: validation %s %.4f", number, num_folds, objective, value)
    return tuple(values)


def _measure(run: Run, objective: str) -> float:
    keras.utils.clear_session()  # or all models that ever were stay in memory
    model = run.create()
    if run.train(model).interrupted:
        raise KeyboardInterrupt
    value = run.evaluate(model, "validation").metrics[objective]
    if not math.isfinite(value):
        raise DivergedError(f"training diverged: the validation {objective} is {value}.")
    return value


def _trial(study: optuna.Study, plan: Plan, objective: str, name: str) -> None:
    """Draws, trains and records one trial."""
    trial = study.ask()
    values = {axis.key: studies.draw(trial, axis) for axis in plan.axes}
    results: tuple[float, ...] = ()
    began, failure = time.perf_counter(), ""
    try:
        recipe = recipes.changed(plan.recipe, space.settings(values))
        results = train_folds(recipe, objective=objective, num_folds=plan.folds)
    except (DivergedError, ValueError) as error:  # a ValueError: settings that do not go together
        failure = one_line(error)
    seconds = time.perf_counter() - began
    trial.set_user_attr("result", {"folds": results, "seconds": seconds, "failure": failure})
    text = f"failed: {failure}" if failure else f"{objective} {_told(results)}"
    drawn = "  ".join(
        f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()
    )
    LOG.info("trial %s: %s  %s  %.1f s", name, text, drawn, seconds)
    # After its last point GridSampler stops `study.optimize`, and raises as that does not run; the
    # trial is recorded all the same.
    with contextlib.suppress(RuntimeError) if plan.search == "grid" else contextlib.nullcontext():
        if failure:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, statistics.fmean(results))


def _outcome(headline: Metric, trials: tuple[Trial, ...]) -> Outcome:
    good = [trial for trial in trials if trial.objective is not None]
    sign = 1 if headline.higher else -1
    best = max(good, key=lambda t: sign * (t.objective or 0.0), default=None)
    return Outcome(headline.name, trials, best)


def _told(results: tuple[float, ...]) -> str:
    spread = f" +- {statistics.stdev(results):.4f}" if len(results) > 1 else ""
    return f"{statistics.fmean(results):.4f}{spread}"


def _write_table(
    axes: tuple[Axis, ...], objective: str, trials: tuple[Trial, ...], path: Path
) -> None:
    num_folds = max((len(trial.folds) for trial in trials), default=0)
    parts = [f"fold{n}" for n in range(1, num_folds + 1)] if num_folds > 1 else []
    keys = [axis.key for axis in axes]
    with staged_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("trial", "state", *keys, objective, "std", *parts, "seconds", "failure"))
        for t in trials:
            state = "failed" if t.objective is None else "complete"
            values = [t.values[key] for key in keys]
            each = (*t.folds, *[""] * len(parts))[: len(parts)]
            numbers = ("", "") if t.objective is None else (t.objective, t.std)
            writer.writerow(
                (t.number, state, *values, *numbers, *each, round(t.seconds, 3), t.failure)
            )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keeps what every run says of its data and its machine to the first one.

    TensorFlow warns of functions that are traced again, which is what a new model in a loop does.
    """
    loggers = (LOG, logging.getLogger("tensorflow"))
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, (logging.WARNING, logging.ERROR), strict=True):
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
