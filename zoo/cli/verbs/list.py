"""List the architectures of the zoo, or the targets of export."""

from __future__ import annotations

import argparse

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo list`."""
    parser.add_argument(
        "what", nargs="?", choices=("architectures", "targets"), default="architectures",
        help="default: architectures",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Prints one row for each."""
    header, rows = (_architectures if arguments.what == "architectures" else _targets)()
    if arguments.json:
        print(text.document(rows))
        return
    cells = [[str(row[key]) if key == "year" else row[key] for key in header] for row in rows]
    print(text.table(header, cells))


def _architectures() -> tuple[tuple[str, ...], list[dict[str, object]]]:
    from zoo.catalog import CATALOG

    header = ("name", "task", "year", "parameters", "paper")
    return header, [row._asdict() for row in CATALOG.values()]


def _targets() -> tuple[tuple[str, ...], list[dict[str, object]]]:
    from export.targets import TARGETS

    rows: list[dict[str, object]] = []
    for name, target in TARGETS.items():
        missing = target().missing()
        rows.append(
            {
                "name": name,
                "precision": target.precision,
                "proof": target.proof,
                "runtime": target.runtime,
                "options": " ".join(target.options()),
                "to install": " ".join(missing),
            }
        )
    return ("name", "precision", "proof", "runtime", "options", "to install"), rows
