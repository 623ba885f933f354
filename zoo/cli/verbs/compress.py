"""Make a bundle smaller by a recipe of passes, and write a new bundle.

The bundle that goes in is not changed. The passes train with the recipe of the bundle, on its data;
what they choose by, and what a budget limits, is measured on the validation split, and the new
report on the test split. Exits with 1 when a budget is not met; the best result is written then
too. Until the new bundle is whole, what was at --out stays there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from zoo.cli import text

SAMPLES = 512  # training images to calibrate on
CHECKED = 32  # to check files with that are only timed


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
    import compress
    from zoo import bundle as bundles

    began = time.perf_counter()
    parent = bundles.Bundle(arguments.bundle)
    pipeline = compress.load_recipe(arguments.recipe)
    name = Path(arguments.recipe).stem
    out = arguments.out or parent.path.with_name(f"{parent.path.name}-{name}")
    bundles.check_free(out, force=arguments.force)

    from zoo.cli.file import integers
    from zoo.cli.latency import measure
    from zoo.cli.reopen import load, reopen
    from zoo.cli.tables import summary
    from zoo.craft.plots import pareto
    from zoo.training.history import History
    from zoo.training.progress import ProgressBar

    work, history = reopen(parent, arguments.changes), History()

    def fit(model: Any, *, epochs: int, callbacks: Any, rate: float = 1.0) -> None:
        settings = work.recipe.train.further(epochs, rate=rate)
        history.extend(work.train(model, settings=settings, callbacks=[*callbacks, ProgressBar()]))
        if history.interrupted:
            raise KeyboardInterrupt

    small = compress.apply(
        pipeline,
        load(parent.path),
        fit=fit,
        evaluate=lambda model: work.evaluate(model, "validation").metrics,
        gradients=work.gradients,
        measure=partial(measure, samples=work.samples(CHECKED)),
        samples=work.samples(SAMPLES),
    )
    packed = small.report.after.size.packed_bytes is not None
    ranged = compress.has_ranges(small.model)
    with tempfile.TemporaryDirectory() as scratch:

        def add(stage: Path) -> None:
            if packed:
                compress.pack(small.model, stage / bundles.PACKED)
            if ranged:
                shutil.copy(Path(scratch, "file", bundles.INTEGERS), stage)
            if small.report.search:
                pareto(small.report.search.trials, pipeline.budget.metric, stage / bundles.PARETO)

        origin = {
            "architecture": parent.card.architecture,
            "paper": parent.card.paper,
            "members": parent.card.members,
            "passes": (*parent.card.passes, *(one.settings for one in small.report.passes)),
            "parent": parent.sha256,
            "compression": small.report.to_dict(),
            "pipeline": name,
            "changes": arguments.changes,
            "parent_name": parent.path.resolve().name,
            "parent_metrics": parent.report.metrics,
            "file": integers(work, small.model, Path(scratch, "file")) if ranged else {},
        }
        bundle = work.write(
            out, small.model, history, began=began, force=arguments.force, origin=origin, add=add
        )
    if arguments.json:
        values = bundle.report.model_dump(mode="json")
        print(text.document({"bundle": str(bundle.path), **values}))
    else:
        print(summary(bundle))
    if not small.report.passed:
        print(f"zoo compress: over budget: {'; '.join(small.report.budget.over)}", file=sys.stderr)
        return 1
    return 0
