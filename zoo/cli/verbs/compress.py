"""Make a bundle smaller by a recipe of passes, and write a new bundle.

The bundle that goes in is not changed. The passes train with the recipe of the bundle, on its data;
what they choose by, and what a budget limits, is measured on the validation split, and the new
report on the test split. Exits with 1 when a budget is not met; the best result is written then
too. Until the new bundle is whole, what was at --out stays there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.bundle import PACKED
from zoo.cli import text

if TYPE_CHECKING:
    from zoo.bundle import Bundle


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

    from zoo.cli.latency import measure
    from zoo.cli.reopen import reopen
    from zoo.craft.plots import pareto
    from zoo.models.saved import load
    from zoo.training.history import History
    from zoo.training.progress import ProgressBar

    work, history = reopen(parent), History()

    def fit(model: Any, *, epochs: int, callbacks: Any) -> None:
        settings = parent.recipe.train.further(epochs)
        history.extend(work.train(model, settings=settings, callbacks=[*callbacks, ProgressBar()]))
        if history.interrupted:
            raise KeyboardInterrupt

    small = compress.apply(
        pipeline,
        load(parent.path),
        fit=fit,
        evaluate=lambda model: work.evaluate(model, "validation").metrics,
        gradients=work.gradients,
        measure=measure,
    )
    packed = small.report.after.size.packed_bytes is not None

    def add(stage: Path) -> None:
        if packed:
            compress.pack(small.model, stage / bundles.PACKED)
        if small.report.search:
            pareto(small.report.search.trials, pipeline.budget.metric, stage / bundles.PARETO)

    origin = {
        "architecture": parent.card.architecture,
        "paper": parent.card.paper,
        "members": parent.card.members,
        "passes": (*parent.card.passes, *(one.settings for one in small.report.passes)),
        "parent": parent.sha256,
        "compression": small.report.to_dict(),
        "parent_metrics": parent.report.metrics,
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


def summary(bundle: Bundle) -> str:
    """Returns the tables that close a compression: each pass, each layer, before and after."""
    report = bundle.report.compression
    tables = [_pass(one) for one in report["passes"]]
    tables.append(_layers(report["after"]["layers"]))
    if report["search"]:
        tables.append(_trials(report["search"]))
    tables.append(_total(bundle))
    if report["idle"]:
        tables.append("\n".join(report["idle"]))
    return "\n\n".join(tables)


def _pass(one: dict[str, Any]) -> str:
    """What a pass did to each layer, or why nothing."""
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
    return text.table(header, rows)


def _layers(costs: list[dict[str, Any]]) -> str:
    """What the layers of the result take."""
    header = ("layer", "zeros", "values", "bits", "coded bits", "packed bytes", "MACs", "energy")
    rows = [
        (
            row["path"],
            f"{row['sparsity']:.1%}",
            row["distinct"],
            f"{row['book_bits']:.2f}",
            None if row["packed_bits"] is None else f"{row['packed_bits']:.2f}",
            row["packed_bytes"],
            row["macs"],
            _energy(row["joules"]),
        )
        for row in costs
        if row["parameters"]
    ]
    return text.table(header, rows)


def _trials(search: dict[str, Any]) -> str:
    """The trials of a search; a star at the one that was kept."""
    trials = search["trials"]
    names = list(trials[0]["strengths"])
    rows = [
        (
            f"{number}{'*' if number - 1 == search['best'] else ''}",
            *(f"{trial['strengths'][name]:g}" for name in names),
            " ".join(trial["spared"]) or None,
            trial["least_bytes"],
            trial["metric"],
            _milliseconds(trial["latency_seconds"]),
            trial["error"] or trial["kept"],
        )
        for number, trial in enumerate(trials, start=1)
    ]
    settings = [name.partition(".")[2] for name in names]
    return text.table(("trial", *settings, "spared", "bytes", "metric", "time", "kept"), rows)


def _total(bundle: Bundle) -> str:
    """The whole model before and after."""
    report = bundle.report.compression
    before, after = report["before"], report["after"]
    both = before["total"], after["total"]
    rows: list[tuple[Any, ...]] = [
        (name, *(side["counts"][key] for side in (before, after)))
        for name, key in (
            ("parameters", "parameters"),
            ("non-zero", "nonzero"),
            ("multiply-accumulates", "macs"),
        )
    ]
    rows.append(("distinct values of kernels", *(cost["distinct"] for cost in both)))
    rows.append(("bits each, with a code book", *(f"{cost['book_bits']:.2f}" for cost in both)))
    if after["total"]["packed_bits"] is not None:
        rows.append(("bits each, coded", "-", f"{after['total']['packed_bits']:.2f}"))
    for name, key in (("model.keras", "raw_bytes"), ("gzipped", "gzip_bytes")):
        rows.append((name, *(text.size(side["size"][key]) for side in (before, after))))
    if packed := after["size"]["packed_bytes"]:
        rows.append((PACKED, "-", text.size(packed)))
    for name in before["runtimes"]:
        files = [side["runtimes"].get(name) for side in (before, after)]
        for label, key in ((name, "size_bytes"), (f"{name}, gzipped", "gzip_bytes")):
            rows.append((label, *(file and text.size(file[key]) for file in files)))
        rows.append((f"{name}, time", *(file and _milliseconds(file["seconds"]) for file in files)))
    rows.append(("energy, estimated", *(_energy(cost["joules"]) for cost in both)))
    rows.append(("  if zeros are skipped", *(_energy(cost["sparse_joules"]) for cost in both)))
    rows += [
        (f"test {name}", value, bundle.report.metrics[name])
        for name, value in bundle.report.parent_metrics.items()
    ]
    return text.table((str(bundle.path), "before", "after"), rows)


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{1000 * seconds:.3g} ms"


def _energy(joules: float) -> str:
    return f"{1e6 * joules:.3g} uJ"
