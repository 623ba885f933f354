"""Say what is on an image, or in a row of a table: classes and probabilities, or a number."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import numbers, own_model, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo predict`."""
    parser.add_argument(
        "bundle",
        type=Path,
        help="a directory that `zoo train` wrote, a model that comes with the zoo, or a .keras or"
        " .h5 file",
    )
    parser.add_argument(
        "images", type=Path, nargs="+",
        help="image files, or CSV files of numbers for a model of a table",
    )  # fmt: skip
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="draw masks, boxes or captions into the pictures, here",
    )
    parser.add_argument(
        "--coco", type=Path, metavar="FILE", help="write what a detector finds as COCO's JSON, here"
    )
    parser.add_argument(
        "--beam", type=numbers.whole(), metavar="N", help="of captions: sentences to keep while"
        " they grow; the likeliest word each time without it",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace files of --out and --coco")
    own_model.add_arguments(parser, data=False)
    parser.add_argument(
        "--labels", metavar="A,B,...", type=lambda names: names.split(","),
        help="of a .keras file: names of its classes, in their order",
    )  # fmt: skip
    parser.add_argument(
        "--top", type=numbers.whole(), default=3, metavar="N", help="classes to print"
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the answer for each picture or row."""
    bundle = own_model.found(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    from zoo.stages.predict import predict

    brought = own_model.brought(arguments)
    rows = predict(
        bundle,
        arguments.images,
        top=arguments.top,
        out=arguments.out,
        coco_file=arguments.coco,
        force=arguments.force,
        beam=arguments.beam,
        **brought,
    )
    if arguments.json:
        print(text.document(rows))
    elif not rows:
        print("nothing found")
    else:
        header = list(rows[0])
        print(text.table(header, [[row[key] for key in header] for row in rows]))
