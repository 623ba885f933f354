"""Measure what is not a network, as something to beat; writes a card and a report.

Its one free setting is chosen on the validation split; the report is on the test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import numbers, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo baseline`."""
    from zoo.baselines import BASELINES

    parser.add_argument("name", help=", ".join(BASELINES))
    parser.add_argument(
        "--data", metavar="NAME",
        help="a data set of images, or folder:PATH (default: mnist5k); of others what they read:"
        " signals, short texts with classes, a text, gym:NAME",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=numbers.whole(most=65535), metavar="PIXELS",
        help="side of the images, or places of a window of a signal",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=numbers.whole(), metavar="N", help="training examples to keep"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="the directory (default: runs/NAME-DATA)"
    )
    parser.add_argument("--force", action="store_true", help="replace what is at --out")


def run(arguments: argparse.Namespace) -> None:
    """Fits, measures, and prints what came of it."""
    from zoo import datasets, environments
    from zoo.baselines import find_baseline

    row = find_baseline(arguments.name)
    data = arguments.data or row.data
    if data.startswith(datasets.GYM):
        environments.check_name(data.removeprefix(datasets.GYM))
    else:
        datasets.check_name(data)
    from zoo.baselines.run import baseline

    record = baseline(
        arguments.name,
        data=data,
        size=arguments.size,
        limit=arguments.limit,
        out=arguments.out,
        force=arguments.force,
    )
    report = record.report
    if arguments.json:
        values = report.model_dump(mode="json")
        print(text.document({"directory": str(record.path), **values}))
        return
    settings = report.baseline.settings.items() if report.baseline else ()
    facts = {
        "directory": record.path,
        "baseline": row.title,
        "data": report.source,
        "settings": ", ".join(f"{key}={value}" for key, value in settings),
        **{f"validation {name}": value for name, value in report.validation.items()},
        **{f"test {name}": value for name, value in report.metrics.items()},
        "test examples": report.examples["test"],
        "seconds": f"{report.seconds['total']:.1f}",
        "numbers stored": record.card.parameters,
    }
    print(text.facts(facts))
