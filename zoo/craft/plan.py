"""What a search or a sweep is asked to do, checked before anything is trained. No TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo.common.staging import staged
from zoo.craft import space
from zoo.craft.space import Axis, Value
from zoo.recipe import Recipe

STUDY, CSV, PLOT = "study.db", "trials.csv", "tune.png"
RATES = "rates.csv"
SEARCHES = ("random", "grid", "tpe")


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        recipe: What every trial starts from.
        axes: The settings that vary; with none, every trial is the recipe itself.
        search: One of `SEARCHES`.
        trials: How many trials are wanted; a grid takes as many as fit a whole grid.
        folds: 1 validates on the data set's own validation split, more cross-validate.

    Raises:
        ValueError: A value makes no search.
    """

    recipe: Recipe
    axes: tuple[Axis, ...] = ()
    search: str = "random"
    trials: int = 20
    folds: int = 1

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise ValueError(f"--search: got {self.search!r}; expected one of {SEARCHES}.")
        if self.trials < 1:
            raise ValueError(f"--trials: got {self.trials}; expected at least 1.")
        if self.folds < 1:
            raise ValueError(f"--folds: got {self.folds}; expected at least 2.")
        if self.search == "grid":
            _ = self.grid  # refuses what makes none

    @cached_property
    def grid(self) -> dict[str, list[Value]]:
        """The values on each axis of a grid."""
        return space.grid(self.axes, self.trials)

    @property
    def num_trials(self) -> int:
        """How many trials there will be."""
        return len(space.points(self.grid)) if self.search == "grid" else self.trials

    def identity(self) -> dict[str, Any]:
        """Returns what makes two plans the same search, as plain JSON.

        The number of trials does not, except for a grid: a search can be continued with more.
        """
        return {
            "search": self.search,
            "folds": self.folds,
            "ranges": {axis.key: [*axis[1:5], list(axis.choices)] for axis in self.axes},
            "grid": self.grid if self.search == "grid" else {},
            "recipe": self.recipe.model_dump(mode="json"),
        }


def prepare(out: Path, *, resume: bool = False, force: bool = False) -> None:
    """Makes the directory of a new search, or finds that of the one to resume.

    Raises:
        FileExistsError: `out` exists; or it is not a search, and `force` may not remove it.
        FileNotFoundError: There is nothing to resume.
    """
    if resume:
        if not (out / STUDY).is_file():
            raise FileNotFoundError(f"{out / STUDY}: not found; there is no search to resume.")
        return
    if out.is_dir() and not any(out.iterdir()):
        return  # a search that was refused, or killed, before its first trial
    if out.exists() and not force:
        hint = "--resume continues it, " if (out / STUDY).is_file() else ""
        raise FileExistsError(f"{out}: exists; {hint}--force replaces it, or choose another --out.")
    with staged(out, force=force, mark=STUDY):
        pass  # the old search gives way to an empty directory at once


def check_sweep(recipe: Recipe, *, low: float, high: float, steps: int) -> None:
    """Refuses what makes no sweep of the learning rate.

    Raises:
        ValueError: The rates or the steps make no sweep, or the optimizer has no learning rate.
    """
    if not 0 < low < high < math.inf:
        raise ValueError(f"--low, --high: got {low:g} and {high:g}; expected 0 < low < high.")
    if steps < 20:
        raise ValueError(f"--steps: got {steps}; expected at least 20.")
    if recipe.train.optimizer.kind == "lbfgs":
        raise ValueError(
            "train.optimizer.kind: got lbfgs, which has no learning rate to look for; expected "
            "another optimizer, e.g. --set train.optimizer.kind=sgd."
        )
