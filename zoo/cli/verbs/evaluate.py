"""Measure a bundle: its metrics, calibration, each class, and the confusion matrix."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo evaluate`."""
    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote")
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), default="test", help="default: test"
    )
    parser.add_argument(
        "--file", type=Path, metavar="DIR",
        help="measure this file, which `zoo export` wrote of the bundle, in the model's place",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Loads the model afresh, measures it and prints the tables."""
    from zoo.bundle import Bundle

    bundle = Bundle(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    from zoo.cli.reopen import load, reopen

    work, model, agreement = reopen(bundle), load(bundle.path), None
    if arguments.file:
        from zoo.cli.file import measure

        found, agreement = measure(arguments.file, work, model, arguments.split)
    else:
        found = work.evaluate(model, arguments.split)
    labels = bundle.card.labels
    if arguments.json:
        values: dict[str, Any] = {
            "bundle": str(bundle.path),
            "split": arguments.split,
            "file": str(arguments.file) if arguments.file else None,
            "same_top1": agreement,
            "metrics": found.metrics,
            "reliability": [row._asdict() for row in found.reliability],
            "per_class": found.per_class,
            "confusion": found.confusion.tolist(),
        }
        print(text.document(values))
        return
    print(text.facts(found.metrics))
    if agreement is not None:
        print(f"the model has the same top-1 on {agreement:.2%}")
    if not labels:
        return
    print("\ncalibration: how sure the model is, and how often it is right (`ece` is the gap)")
    bins = [row for row in found.reliability if row.num]
    sure = [(f"{row.low:.2f} to {row.high:.2f}", *row[2:]) for row in bins]
    print(text.table(("sure", "examples", "confidence", "right"), sure))
    header = ("label", "precision", "recall", "f1", "support")
    print("\n" + text.table(header, [[row[key] for key in header] for row in found.per_class]))
    print("\nrows are true classes, columns are predicted ones")
    rows = zip(labels, found.confusion.tolist(), strict=True)
    print(text.table(("", *labels), [[label, *counts] for label, counts in rows]))
