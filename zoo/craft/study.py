"""The file of a search: what is drawn, and what is finished.

What a trial draws is a function of the seed and of the trials finished before it. So a search that
was killed draws what one that was not would have drawn: a trial that a kill cut short stays in the
file as running, counts for nothing, and is drawn again.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from zoo.common.settings import difference
from zoo.craft.plan import STUDY, Plan
from zoo.craft.space import Axis, Value

NAME = "zoo tune"  # of the study in its file


@dataclass(frozen=True)
class Trial:
    """One finished trial.

    Attributes:
        number: In the order of finishing, from 1.
        values: The settings that were varied.
        objective: Mean over the folds; `None` when the trial failed.
        std: Standard deviation over the folds (of a sample: n - 1); 0 without folds.
        folds: The objective of each fold.
        seconds: Wall time.
        failure: Why it failed, one line; empty when it did not.
    """

    number: int
    values: dict[str, Value]
    objective: float | None
    std: float
    folds: tuple[float, ...]
    seconds: float
    failure: str = ""


def draw(trial: optuna.Trial, axis: Axis) -> Any:
    """Returns a trial's value of one setting."""
    if axis.choices:
        return trial.suggest_categorical(axis.key, axis.choices)
    if axis.whole:
        return trial.suggest_int(axis.key, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(axis.key, axis.low, axis.high, log=axis.log)


def sampler(plan: Plan, *, done: int) -> optuna.samplers.BaseSampler:
    """The sampler of the next trial. It is made anew, so that a resumed search draws the same."""
    if plan.search == "grid":
        grid: Any = plan.grid
        return optuna.samplers.GridSampler(grid, seed=plan.recipe.seed)
    seed = int(np.random.SeedSequence([plan.recipe.seed, done]).generate_state(1)[0])
    if plan.search == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # A trial that was killed stays in the file as running; it is no reason to look elsewhere.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=False)


def begin(plan: Plan, out: Path, *, maximise: bool, made_of: Mapping[str, Any]) -> optuna.Study:
    """Opens the study of `out`, or begins one.

    Args:
        plan: What is searched.
        out: Directory of the search.
        maximise: Whether more of the objective is better.
        made_of: What else decides a trial's numbers: the examples, the machine; plain JSON.

    Raises:
        ValueError: It was begun by another plan, with other examples or on another machine.
    """
    study = optuna.create_study(
        storage=f"sqlite:///{out / STUDY}",
        study_name=NAME,
        direction="maximize" if maximise else "minimize",
        load_if_exists=True,
    )
    asked = {**plan.identity(), **made_of}
    begun = study.user_attrs.get("plan")
    if begun is None:
        study.set_user_attr("plan", asked)
    elif found := difference(begun, {key: asked[key] for key in asked if key in begun}, ""):
        key, old, new = found
        raise ValueError(
            f"{out}: holds another search. {key}: got {new!r}; it began with {old!r}. Repeat what "
            "it began with, or choose another --out."
        )
    return study


def finished(study: optuna.Study) -> tuple[Trial, ...]:
    """The trials that came to an end, in this order; one that was killed has none."""
    done = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    found = []
    for number, trial in enumerate(done, start=1):
        result = trial.user_attrs["result"]
        results = tuple(result["folds"])
        found.append(
            Trial(
                number,
                dict(trial.params),
                trial.value,
                statistics.stdev(results) if len(results) > 1 else 0.0,
                results,
                result["seconds"],
                result["failure"],
            )
        )
    return tuple(found)
