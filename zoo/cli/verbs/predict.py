"""Say what is on an image, or in a row of a table: classes and probabilities, or a number."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli import text

if TYPE_CHECKING:
    import numpy as np

    from zoo.bundle import Card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo predict`."""
    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote")
    parser.add_argument(
        "images", type=Path, nargs="+",
        help="image files, or CSV files of numbers for a model of a table",
    )  # fmt: skip
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to print")


def run(arguments: argparse.Namespace) -> None:
    """Prints the best classes of each image or row, or its number."""
    import numpy as np

    from zoo.bundle import Bundle
    from zoo.data.preprocessing import Preprocessing

    bundle = Bundle(arguments.bundle)
    preprocessing = Preprocessing.model_validate(bundle.card.preprocessing)
    if preprocessing.size is None:
        tables = [preprocessing.rows(path) for path in arguments.images]
        names = [
            f"{path}:{row}"
            for path, table in zip(arguments.images, tables, strict=True)
            for row in range(1, len(table) + 1)
        ]
        raw = np.concatenate(tables)  # (n, features)
    else:
        names = [str(path) for path in arguments.images]
        raw = np.stack([preprocessing.image(path) for path in arguments.images])  # (n, h, w, c)

    from zoo.cli.reopen import load

    outputs = load(bundle.path).predict_on_batch(preprocessing.apply(raw))  # (n, outputs)
    header, rows = _answers(bundle.card, names, outputs, top=arguments.top)
    header = ("row" if preprocessing.size is None else "image", *header)
    if arguments.json:
        print(text.document([dict(zip(header, row, strict=True)) for row in rows]))
    else:
        print(text.table(header, rows))


def _answers(
    card: Card, names: list[str], outputs: np.ndarray, *, top: int
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Returns the rows of the answer, and the header of all columns but the first."""
    import numpy as np
    from scipy.special import softmax

    if card.task == "regress":
        values = zip(names, outputs[:, 0], strict=True)
        return ("value",), [(name, float(value)) for name, value in values]
    if card.task == "binary":  # sigmoid(s) is the softmax of 0 and s
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    rows = [
        (name, card.labels[best], float(share[best]))
        for name, share in zip(names, softmax(outputs, axis=1), strict=True)
        for best in share.argsort()[::-1][:top]
    ]
    return ("label", "probability"), rows
