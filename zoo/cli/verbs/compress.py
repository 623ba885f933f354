"""Make a bundle smaller by a recipe of passes, and write a new bundle.

The bundle that goes in is not changed. The passes train with the recipe of the bundle, on its data;
what they choose by, and what a budget limits, is measured on the validation split, and the new
report on the test split. Exits with 1 when a budget is not met; the best result is written then
too. Until the new bundle is whole, what was at --out stays there, and --resume continues, with the
same arguments, what was interrupted or killed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from zoo.cli import own_model, samples, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo compress`."""
    from compress import recipe_names

    known = ", ".join(recipe_names())
    parser.add_argument(
        "bundle", type=Path, help="a directory that `zoo train` wrote, or a .keras or .h5 file"
    )
    parser.add_argument("recipe", help=f"{known}, or a YAML file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the new bundle (default: BUNDLE-RECIPE)"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="change the recipe that fine-tunes, e.g. data.augment={}, a pass, e.g. "
        "passes.prune.epochs=24, or the budget, e.g. budget.max_bytes=7000; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=Path, metavar="FILE",
        help="of a .keras file, for a recipe without training: examples as the model takes them,"
        " .npy, .npz by input name, or a folder of pictures",
    )  # fmt: skip
    own_model.add_arguments(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with what was interrupted, exactly"
    )
    parser.add_argument("--force", action="store_true", help="replace what is at --out")


def run(arguments: argparse.Namespace) -> int:
    """Compresses, and prints each layer and what came of it."""
    from compress import load_recipe
    from zoo.common import staging

    # Before TensorFlow: a wrong path or name is told at once.
    parent: Any = own_model.found(arguments.bundle)
    load_recipe(arguments.recipe, arguments.changes)
    if arguments.out:
        force = arguments.force or arguments.resume
        staging.check_free(arguments.out, force=force)
    brought = own_model.brought(arguments)
    if arguments.samples:
        brought["samples"] = samples.read(arguments.samples)

    import compress as passes
    from zoo.cli.tables import summary
    from zoo.stages.compress import compress
    from zoo.training.callbacks.progress import ProgressBar

    bundle = compress(
        parent,
        arguments.recipe,
        out=arguments.out,
        changes=arguments.changes,
        resume=arguments.resume,
        force=arguments.force,
        callbacks=[ProgressBar()],
        **brought,
    )
    if isinstance(bundle, passes.Compressed):
        print(bundle.report.to_json() if arguments.json else bundle.report)
        return 0 if bundle.report.passed else 1
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
