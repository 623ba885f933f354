"""Say what is on an image, in a row of a table or a signal, or what a text becomes.

Answers are classes and probabilities, numbers, or words.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import numbers, own_model, text


class _InPlaceOfFiles(argparse.Action):
    """Appends a text; then no file is asked for.

    `nargs="*"` would take none where an option stands before the files.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])
        for one in parser._actions:
            if one.dest == "images":
                one.required = False


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
        help="image files, or CSV files of numbers for a model of a table; of signals .csv, .npy or"
        " .ts; or .npz of arrays called as the model's inputs",
    )  # fmt: skip
    parser.add_argument(
        "--text", metavar="TEXT", action=_InPlaceOfFiles, default=[], dest="texts",
        help="a text for a model of texts, in the place of files; may be repeated. Two sentences"
        " have a | between them; a tree has brackets",
    )  # fmt: skip
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="draw masks, boxes or captions into the pictures, here",
    )
    parser.add_argument(
        "--coco",
        type=Path,
        metavar="FILE",
        help="write what is found as COCO's JSON, here",
    )
    parser.add_argument(
        "--beam", type=numbers.whole(), metavar="N", help="of captions and texts: answers to keep"
        " while they grow; the likeliest word each time without it",
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
        arguments.images or (),
        texts=arguments.texts,
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
        header = [key for key in rows[0] if key != "mask"]  # which is for programs
        print(text.table(header, [[row[key] for key in header] for row in rows]))
