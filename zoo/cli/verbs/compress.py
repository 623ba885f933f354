"""Make a bundle smaller by a recipe of passes, and write a new bundle.

The bundle that goes in is not changed. The passes train with the recipe of the bundle, on its data;
what they choose by is measured on the validation split, and the new report on the test split.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.bundle import PACKED
from zoo.cli import text

if TYPE_CHECKING:
    from zoo.bundle import Bundle

LOG = logging.getLogger("zoo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo compress`."""
    from compress import recipe_names

    known = ", ".join(recipe_names())
    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote")
    parser.add_argument("recipe", help=f"{known}, or a YAML file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the new bundle (default: BUNDLE-RECIPE)"
    )
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

    from zoo.cli.latency import compare, seconds
    from zoo.cli.reopen import reopen
    from zoo.models.saved import load
    from zoo.training.history import History
    from zoo.training.progress import ProgressBar

    work, history = reopen(parent), History()

    def fit(model: Any, *, epochs: int, callbacks: Any) -> None:
        settings = parent.recipe.train.further(epochs)
        history.extend(work.train(model, settings=settings, callbacks=[*callbacks, ProgressBar()]))
        if history.interrupted:
            raise KeyboardInterrupt

    whole = load(parent.path)
    small = compress.apply(
        pipeline,
        whole,
        fit=fit,
        evaluate=lambda model: work.evaluate(model, "validation").metrics,
        gradients=work.gradients,
        seconds=seconds,
    )
    packed = small.report.after.size.packed_bytes is not None

    def add(stage: Path) -> None:
        if packed:
            compress.pack(small.model, stage / bundles.PACKED)

    origin = {
        "architecture": parent.card.architecture,
        "paper": parent.card.paper,
        "members": parent.card.members,
        "passes": (*parent.card.passes, *pipeline.to_dict()["passes"]),
        "parent": parent.sha256,
        "compression": small.report.to_dict(),
        "pipeline": name,
        "parent_name": parent.path.resolve().name,
        "parent_metrics": parent.report.metrics,
        "latency": _latency(compare, whole, small.model),
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
        print(f"zoo compress: over budget: {'; '.join(small.report.budget.lines)}", file=sys.stderr)
        return 1
    return 0


def _latency(
    compare: Callable[[Any, Any], dict[str, float]], old: Any, new: Any
) -> dict[str, float]:
    try:
        return compare(old, new)
    except (RuntimeError, ValueError) as error:  # a layer that the converter does not know
        LOG.warning("latency: not measured: %s", error)
        return {}


def summary(bundle: Bundle) -> str:
    """Returns the tables that close a compression: each layer, then before and after."""
    report = bundle.report.compression
    tables = []
    for one in report["passes"]:
        rows = [
            (
                row["path"],
                row["kind"],
                row["before"]["parameters"],
                row["after"]["nonzero"],
                row["note"],
            )
            for row in one["layers"]
            if row["before"]["parameters"]
        ]
        header = ("layer", "kind", "parameters", "non-zero after", one["settings"]["kind"])
        tables.append(text.table(header, rows))
    before, after = report["before"], report["after"]
    counts = [
        (name, before["counts"][key], after["counts"][key])
        for name, key in (
            ("parameters", "parameters"),
            ("non-zero", "nonzero"),
            ("multiply-accumulates", "macs"),
        )
    ]
    sizes = [
        (name, text.size(before["size"][key]), text.size(after["size"][key]))
        for name, key in (("model.keras", "raw_bytes"), ("gzipped", "gzip_bytes"))
    ]
    if packed := after["size"]["packed_bytes"]:
        sizes.append((PACKED, "-", text.size(packed)))
    if latency := bundle.report.latency:
        old, new = (f"{1000 * latency[key]:.3g} ms" for key in ("before", "after"))
        sizes.append(("one example in LiteRT", old, new))
    metrics = [
        (f"test {name}", value, bundle.report.metrics[name])
        for name, value in bundle.report.parent_metrics.items()
    ]
    tables.append(text.table((str(bundle.path), "before", "after"), [*counts, *sizes, *metrics]))
    return "\n\n".join(tables)
