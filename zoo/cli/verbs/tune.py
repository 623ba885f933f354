"""Search the settings of a recipe; with --folds, judge each by k-fold cross-validation.

The objective is the task's headline, e.g. top-1, on the validation split, or on that of each fold;
the test split is not looked at. Writes trials.csv, tune.png and the best recipe.yaml.
`--trials 1` without a range cross-validates the recipe as it stands. Ctrl-C and a kill keep the
finished trials; --resume, with the same arguments, goes on.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli import numbers, text

if TYPE_CHECKING:
    from zoo.craft.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo tune`."""
    from zoo.craft.plan import SEARCHES
    from zoo.craft.space import DEFAULT

    parser.add_argument("model", help="a name that `zoo list` prints, or a recipe.yaml")
    parser.add_argument("--data", metavar="NAME", help="a data set, or folder:PATH")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="change a setting of every trial, e.g. train.epochs=3; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--trials", metavar="N", type=numbers.integer, default=20, help="default: 20"
    )
    parser.add_argument(
        "--search", choices=SEARCHES, default="random",
        help="default: random; a grid takes the most points that N trials allow",
    )  # fmt: skip
    parser.add_argument(
        "--range", metavar="KEY=LOW:HIGH[:log]", action="append", default=[], dest="ranges",
        help=f"what varies, also KEY=A,B,C; may be repeated (default: {' and '.join(DEFAULT)})",
    )  # fmt: skip
    parser.add_argument("--space", metavar="FILE", type=Path, help="ranges in YAML, KEY: LOW:HIGH")
    parser.add_argument(
        "--folds",
        metavar="K",
        type=numbers.integer,
        help="cross-validate on training and validation split",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where it is kept (default: runs/MODEL-tune)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the search of --out")
    parser.add_argument("--force", action="store_true", help="replace the search of --out")


def run(arguments: argparse.Namespace) -> int:
    """Searches, and prints the trials and the best settings."""
    plan = _plan(arguments)
    from zoo.craft.plan import prepare

    out = arguments.out or Path("runs") / f"{plan.recipe.model}-tune"
    prepare(out, resume=arguments.resume, force=arguments.force)
    from zoo.craft.tune import tune

    found = tune(plan, out, resume=arguments.resume)
    best = found.best
    if arguments.json:
        trials = [vars(trial) for trial in found.trials]
        values = {"out": str(out), "objective": found.objective, "trials": trials}
        print(text.document(values | {"best": vars(best) if best else None}))
    else:
        print(_table(plan, found))
        if best:
            print(f"\nbest: {best.objective:.4f}{_spread(best)}; {out / 'recipe.yaml'}")
            for setting in _settings(best):
                print(f"--set {shlex.quote(setting)}")
    return 0 if best else 1


def _plan(arguments: argparse.Namespace) -> Plan:
    from zoo.craft import space
    from zoo.craft.plan import Plan
    from zoo.datasets import check_name
    from zoo.recipe import resolve

    recipe = resolve(arguments.model, data=arguments.data, changes=arguments.changes)
    check_name(recipe.data.name)
    ranges = [*(space.read_space(arguments.space) if arguments.space else ()), *arguments.ranges]
    if not ranges and arguments.trials != 1:
        ranges = list(space.DEFAULT)
    folds = 1 if arguments.folds is None else arguments.folds
    if folds == 1 and arguments.folds is not None:
        raise ValueError("--folds: got 1; expected at least 2, or no --folds.")
    return Plan(recipe, space.parse(ranges, recipe), arguments.search, arguments.trials, folds)


def _table(plan: Plan, found: Any) -> str:
    keys = [axis.key for axis in plan.axes]
    header = ("trial", *keys, found.objective, "seconds", "")
    rows = [
        (
            trial.number,
            *(_short(trial.values[key]) for key in keys),
            "failed" if trial.objective is None else f"{trial.objective:.4f}{_spread(trial)}",
            f"{trial.seconds:.1f}",
            trial.failure.partition(";")[0],
        )
        for trial in found.trials
    ]
    return text.table(header, rows)


def _spread(trial: Any) -> str:
    return f" +- {trial.std:.4f}" if len(trial.folds) > 1 else ""


def _settings(trial: Any) -> list[str]:
    from zoo.craft import space

    return space.settings(trial.values)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
