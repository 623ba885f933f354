"""List the architectures of the zoo."""

from __future__ import annotations

import argparse

from zoo.catalog import CATALOG
from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds none."""


def run(arguments: argparse.Namespace) -> None:
    """Prints one row for each architecture."""
    header = ("name", "task", "year", "parameters", "paper")
    rows = [(a.name, a.task, str(a.year), a.parameters, a.paper) for a in CATALOG.values()]
    if arguments.json:
        print(text.document([row._asdict() for row in CATALOG.values()]))
    else:
        print(text.table(header, rows))
