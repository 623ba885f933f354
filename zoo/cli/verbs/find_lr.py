"""Sweep the learning rate over many decades, and suggest one.

A fresh model trains with the recipe's optimizer while the rate rises at every step, until the loss
diverges. Writes rates.csv and rates.png; changes nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import numbers, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo find-lr`."""
    parser.add_argument("model", help="a name that `zoo list` prints, or a recipe.yaml")
    parser.add_argument("--data", metavar="NAME", help="a data set, or folder:PATH")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="change a setting of the recipe, e.g. train.optimizer.kind=sgd; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--low", metavar="RATE", type=numbers.above_zero, default=1e-6, help="default: 1e-6"
    )
    parser.add_argument(
        "--high", metavar="RATE", type=numbers.above_zero, default=10.0, help="default: 10"
    )
    parser.add_argument(
        "--steps", metavar="N", type=numbers.integer, default=150, help="default: 150"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="table and plot (default: runs/MODEL-find-lr)"
    )
    parser.add_argument("--force", action="store_true", help="replace what is at --out")


def run(arguments: argparse.Namespace) -> int:
    """Sweeps, and prints the suggestion."""
    from zoo.common.staging import claimed
    from zoo.craft.plan import RATES, check_sweep
    from zoo.datasets import check_name
    from zoo.recipe import resolve

    recipe = resolve(arguments.model, data=arguments.data, changes=arguments.changes)
    check_name(recipe.data.name)
    check_sweep(recipe, low=arguments.low, high=arguments.high, steps=arguments.steps)
    out = arguments.out or Path("runs") / f"{recipe.model}-find-lr"
    with claimed(out, force=arguments.force, mark=RATES):
        from zoo.craft.find_lr import sweep, write_test

        found = sweep(recipe, low=arguments.low, high=arguments.high, steps=arguments.steps)
        write_test(found, out, force=arguments.force)
    facts = {
        "steps": len(found.rates),
        "lowest_loss_at": found.lowest,
        "steepest_descent_at": found.steepest,
        "suggestion": found.suggestion,
        "out": str(out),
    }
    if arguments.json:
        print(text.document(facts | {"fell": found.fell}))
        return 0 if found.fell else 1
    print(text.facts({k: f"{v:.2g}" if isinstance(v, float) else v for k, v in facts.items()}))
    if not found.fell:
        print("the loss did not fall at any rate; see `zoo check`")
        return 1
    print("a tenth of the rate with the lowest loss: near the fastest descent, far from divergence")
    print(f"--set train.optimizer.learning_rate={found.suggestion:g}")
    return 0
