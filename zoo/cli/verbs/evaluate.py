"""Measure a bundle: its metrics, each class, the confusion matrix; draw its worst answers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.cli import own_model, text

WORST = 10  # episodes that are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo evaluate`."""
    parser.add_argument(
        "bundle",
        type=Path,
        help="a directory that `zoo train` wrote, a model that comes with the zoo, or a .keras or"
        " .h5 file",
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test", "all"),
        help="default: test; of a .keras file all",
    )  # fmt: skip
    own_model.add_arguments(parser)
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="how it is measured: of a bundle e.g. task.importance_samples=5000; of a .keras file"
        " task.kind=segment too, or task.probabilities=true for outputs of a softmax; may be"
        " repeated",
    )  # fmt: skip
    parser.add_argument(
        "--file", type=Path, metavar="DIR",
        help="measure this file, which `zoo export` wrote of the bundle, or this bundle, which"
        " `zoo compress` made of it, in the model's place",
    )  # fmt: skip

    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="draw here what there is to see: curves, the confusion matrix, the worst answers",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the folder of --out")


def run(arguments: argparse.Namespace) -> None:
    """Loads the model afresh, measures it and prints the tables."""
    bundle = own_model.found(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    from zoo.stages.evaluate import evaluate

    brought = own_model.brought(arguments)
    if arguments.changes:
        brought["changes"] = arguments.changes
    found, same, examples, whole = evaluate(
        bundle,
        arguments.split,
        file=arguments.file,
        out=arguments.out,
        force=arguments.force,
        **brought,
    )
    if arguments.json:
        values: dict[str, Any] = {
            "bundle": str(getattr(bundle, "path", bundle)),
            "changes": arguments.changes,
            "split": arguments.split or ("test" if hasattr(bundle, "path") else "all"),
            "file": str(arguments.file) if arguments.file else None,
            "examples": examples,
            "whole": whole,
            "same_top1": same,
            "metrics": found.metrics,
            "tables": found.tables,
        }
        print(text.document(values))
        return
    print(text.facts(found.metrics))
    if same is not None:
        print(f"the model has the same top-1 on {same:.2%}")
    for name, rows in found.tables.items():
        if not rows:  # e.g. the worst answers of a model that makes no mistake
            continue
        labels = [row["label"] for row in found.tables.get("per_class", ())]
        if not labels and hasattr(bundle, "card"):
            labels = list(bundle.card.labels)
        print("\n" + _TABLES.get(name, _rows)(name, rows, labels))


def _rows(name: str, rows: Any, labels: Sequence[str]) -> str:
    header = list(rows[0])
    return f"{name}\n" + text.table(header, [[row[key] for key in header] for row in rows])


def _reliability(name: str, rows: Any, labels: Sequence[str]) -> str:
    sure = [
        (f"{row['low']:.2f} to {row['high']:.2f}", row["num"], row["confidence"], row["accuracy"])
        for row in rows
        if row["num"]
    ]
    title = "calibration: how sure the model is, and how often it is right (`ece` is the gap)"
    return f"{title}\n" + text.table(("sure", "examples", "confidence", "right"), sure)


def _confusion(name: str, rows: Any, labels: Sequence[str]) -> str:
    labels = [*labels, *["nothing"][: len(rows) - len(labels)]]  # of a detector
    lines = [[label, *counts] for label, counts in zip(labels, rows, strict=True)]
    title = "rows are true classes, columns are predicted ones"
    return f"{title}\n" + text.table(("", *labels), lines)


def _episodes(name: str, rows: Any, labels: Sequence[str]) -> str:
    worst = sorted(rows, key=lambda row: row["return"])[:WORST]
    return _rows(f"the {len(worst)} worst episodes", worst, labels)


_TABLES = {"reliability": _reliability, "confusion": _confusion, "episodes": _episodes}
