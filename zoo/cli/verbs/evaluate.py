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


def run(arguments: argparse.Namespace) -> None:
    """Loads the model afresh, measures it and prints the tables."""
    from zoo.bundle import Bundle

    bundle = Bundle(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    from zoo.cli.reopen import reopen
    from zoo.models.saved import load

    found = reopen(bundle).evaluate(load(bundle.path), arguments.split)
    labels = bundle.card.labels
    if arguments.json:
        values: dict[str, Any] = {
            "bundle": str(bundle.path),
            "split": arguments.split,
            "metrics": found.metrics,
            "reliability": [row._asdict() for row in found.reliability],
            "per_class": found.per_class,
            "confusion": found.confusion.tolist(),
        }
        print(text.document(values))
        return
    print(text.facts(found.metrics))
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
