"""Measure a bundle: its metrics, calibration, each class, and the confusion matrix."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo evaluate`."""
    parser.add_argument(
        "bundle",
        type=Path,
        help="a directory that `zoo train` wrote, or a model that comes with the zoo",
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), default="test", help="default: test"
    )
    parser.add_argument(
        "--file", type=Path, metavar="DIR",
        help="measure this file, which `zoo export` wrote of the bundle, in the model's place",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Loads the model afresh, measures it and prints the tables."""
    from zoo.bundle import find_bundle

    bundle = find_bundle(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    from zoo.stages.evaluate import evaluate

    found, same, examples, whole = evaluate(bundle, arguments.split, file=arguments.file)
    if arguments.json:
        values: dict[str, Any] = {
            "bundle": str(bundle.path),
            "split": arguments.split,
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
        print("\n" + _TABLES.get(name, _rows)(name, rows, bundle.card.labels))


def _rows(name: str, rows: Any, labels: tuple[str, ...]) -> str:
    header = list(rows[0])
    return f"{name}\n" + text.table(header, [[row[key] for key in header] for row in rows])


def _reliability(name: str, rows: Any, labels: tuple[str, ...]) -> str:
    sure = [
        (f"{row['low']:.2f} to {row['high']:.2f}", row["num"], row["confidence"], row["accuracy"])
        for row in rows
        if row["num"]
    ]
    title = "calibration: how sure the model is, and how often it is right (`ece` is the gap)"
    return f"{title}\n" + text.table(("sure", "examples", "confidence", "right"), sure)


def _confusion(name: str, rows: Any, labels: tuple[str, ...]) -> str:
    lines = [[label, *counts] for label, counts in zip(labels, rows, strict=True)]
    title = "rows are true classes, columns are predicted ones"
    return f"{title}\n" + text.table(("", *labels), lines)


_TABLES = {"reliability": _reliability, "confusion": _confusion}
