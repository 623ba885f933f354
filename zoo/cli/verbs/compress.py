"""Make a bundle smaller by a recipe of passes, and write a new bundle.

The bundle that goes in is not changed. The passes train with the recipe of the bundle, on its data;
what they choose by, and what a budget limits, is measured on the validation split, and the new
report on the test split. Exits with 1 when a budget is not met; the best result is written then
too. Until the new bundle is whole, what was at --out stays there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo compress`."""
    from compress import recipe_names

    known = ", ".join(recipe_names())
    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote")
    parser.add_argument("recipe", help=f"{known}, or a YAML file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the new bundle (default: BUNDLE-RECIPE)"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="change the recipe that fine-tunes, e.g. data.augment={}; may be repeated",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is at --out")


def run(arguments: argparse.Namespace) -> int:
    """Compresses, and prints each layer and what came of it."""
    from compress import load_recipe
    from zoo import bundle as bundles
    from zoo.common import staging

    # Before TensorFlow: a wrong path or name is told at once.
    parent = bundles.find_bundle(arguments.bundle)
    load_recipe(arguments.recipe)
    if arguments.out:
        staging.check_free(arguments.out, force=arguments.force)

    from zoo.cli.tables import summary
    from zoo.stages.compress import compress
    from zoo.training.progress import ProgressBar

    bundle = compress(
        parent,
        arguments.recipe,
        out=arguments.out,
        changes=arguments.changes,
        force=arguments.force,
        callbacks=[ProgressBar()],
    )
    part = bundle.report.compress
    if arguments.json:
        values = bundle.report.model_dump(mode="json")
        print(text.document({"bundle": str(bundle.path), **values}))
    else:
        print(summary(bundle))
    budget = part.passes.get("budget") if part else None
    if budget and not budget["kept"]:
        print(f"zoo compress: over budget: {'; '.join(budget['over'])}", file=sys.stderr)
        return 1
    return 0
