"""Check a fresh model before a long training: gradients, first loss, layers, does it learn at all?

One line for each check: what was measured, a verdict, and what to do. Exits with 1 when one failed.
Everything is measured on the recipe's own data, at its size, with the initial weights of its seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from typing import TYPE_CHECKING, Any

from zoo.cli import text

if TYPE_CHECKING:
    from zoo.craft.finding import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo check`."""
    parser.add_argument("model", help="a name that `zoo list` prints, or a recipe.yaml")
    parser.add_argument("--data", metavar="NAME", help="a data set, or folder:PATH")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="change a setting of the recipe, e.g. task.loss=multiclass_svm; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="compare fewer slopes, train for fewer steps"
    )


def run(arguments: argparse.Namespace) -> int:
    """Checks, and prints each finding as it comes."""
    from zoo.datasets import check_name
    from zoo.recipe import resolve

    recipe = resolve(arguments.model, data=arguments.data, changes=arguments.changes)
    check_name(recipe.data.name)
    from zoo.craft.check import bench, run_checks

    work, table = bench(recipe)
    found = [_cost(table.learning)]
    if not arguments.json:
        print(found[0].line(), flush=True)
    for finding in run_checks(table, quick=arguments.quick, seed=recipe.seed):
        found.append(finding)
        if not arguments.json:
            print(finding.line(), flush=True)
    if arguments.json:
        checks = [_finite(vars(finding)) for finding in found]
        print(text.document({"model": recipe.model, "data": work.data.name, "checks": checks}))
    return int(any(finding.verdict == "FAIL" for finding in found))


def _cost(models: list[Any]) -> Finding:
    from compress.measure import account
    from zoo.craft.finding import Finding

    total = account.total([row for model in models for row in account.layer_table(model)])
    measured = f"{total.parameters:,} parameters, {total.macs:,} multiply-accumulates an example"
    if total.num_uncounted:
        measured += f", {total.num_uncounted} layers not counted"
    return Finding("cost", measured, values=dataclasses.asdict(total))


def _finite(value: Any) -> Any:
    """The value with `None` for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
