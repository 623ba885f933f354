"""Show one architecture: its facts at once or, with --layers, every layer of the built model."""

from __future__ import annotations

import argparse
from typing import Any

from zoo import catalog
from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo show`."""
    parser.add_argument("model", help="a name that `zoo list` prints")
    parser.add_argument("--layers", action="store_true", help="build it and list its layers")
    parser.add_argument(
        "--input", metavar="HxWxC", type=_shape,
        help="input for --layers, or the number of features of a table (default: the paper's)",
    )  # fmt: skip
    parser.add_argument("--classes", metavar="N", type=int, help="classes for --layers")


def run(arguments: argparse.Namespace) -> None:
    """Prints the facts, and the layers when asked for."""
    architecture = catalog.find_architecture(arguments.model)
    facts = architecture._asdict()
    layers = _layers(arguments) if arguments.layers else None
    if arguments.json:
        print(text.document(facts | ({"layers": layers} if layers is not None else {})))
        return
    print(text.facts(facts | {"year": str(architecture.year), "settings": _settings(facts)}))
    if layers is not None:
        columns = ("path", "kind", "output_shape", "parameters", "macs", "activation_bytes")
        # A layer whose arithmetic has no formula counts nothing.
        total = {column: sum(row[column] or 0 for row in layers) for column in columns[3:]}
        rows = [*layers, {"path": "total", "kind": "", "output_shape": "", **total}]
        print()
        print(text.table(columns, [[row[column] for column in columns] for row in rows]))
        print(f"\nweights in float32: {text.size(4 * total['parameters'])}")


def _layers(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from compress.measure import account
    from zoo.models import create

    made = create(arguments.model, input_shape=arguments.input, num_classes=arguments.classes)
    if not isinstance(made, dict):
        return [row._asdict() for row in account.layer_table(made)]
    return [
        row._asdict() | {"path": f"{name}/{row.path}"}
        for name, network in made.items()
        for row in account.layer_table(network)
    ]


def _settings(facts: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in facts["settings"].items()) or "none"


def _shape(value: str) -> tuple[int, ...]:
    parts = value.split("x")
    if len(parts) not in (1, 3) or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"got {value!r}; expected e.g. 32x32x1, or 30 of a table")
    return tuple(map(int, parts))
