"""Average the probabilities of several bundles in a new one, which works like any other.

The members must have been trained on the same data. With --snapshots they are the models at the
ends of the cycles of one run (zoo train MODEL --set train.optimizer.schedule=cyclic).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli import text

if TYPE_CHECKING:
    from zoo.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo ensemble`."""
    parser.add_argument("out", type=Path, help="the new bundle")
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="a directory that `zoo train` wrote"
    )
    parser.add_argument(
        "--snapshots", action="store_true", help="take the models of each run's cycles"
    )
    parser.add_argument("--force", action="store_true", help="replace what is at OUT")


def run(arguments: argparse.Namespace) -> None:
    """Writes the ensemble, and prints it beside its members."""
    from zoo import bundle as bundles
    from zoo.common import staging

    for path in arguments.runs:  # before TensorFlow: a wrong path is told at once
        bundles.Bundle(path)
    staging.check_free(arguments.out, force=arguments.force)
    from zoo.training.ensemble import ensemble

    bundle = ensemble(
        arguments.runs, out=arguments.out, snapshots=arguments.snapshots, force=arguments.force
    )
    if arguments.json:
        values = bundle.report.model_dump(mode="json")
        print(text.document({"bundle": str(bundle.path), **values}))
    else:
        print(summary(bundle))


def summary(bundle: Bundle) -> str:
    """Returns the table of the members, the ensemble last."""
    names = [member["name"] for member in bundle.card.members]
    part = bundle.report.ensemble
    metrics = [*(part.member_metrics if part else ()), bundle.report.metrics]
    header = ("test", *bundle.report.metrics)
    rows = [
        (name, *values.values())
        for name, values in zip([*names, str(bundle.path)], metrics, strict=True)
    ]
    return text.table(header, rows)
