"""Say what is on an image, or in a row of a table: classes and probabilities, or a number."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo predict`."""
    parser.add_argument(
        "bundle",
        type=Path,
        help="a directory that `zoo train` wrote, or a model that comes with the zoo",
    )
    parser.add_argument(
        "images", type=Path, nargs="+",
        help="image files, or CSV files of numbers for a model of a table",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="draw masks or boxes into the pictures, here"
    )
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to print")


def run(arguments: argparse.Namespace) -> None:
    """Prints the answer for each picture or row."""
    from zoo.bundle import find_bundle

    bundle = find_bundle(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    from zoo.stages.predict import predict

    rows = predict(bundle, arguments.images, top=arguments.top, out=arguments.out)
    if arguments.json:
        print(text.document(rows))
    else:
        header = list(rows[0])
        print(text.table(header, [[row[key] for key in header] for row in rows]))
