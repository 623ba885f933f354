"""Show one architecture: its facts at once or, with --layers, every layer of the built model."""

from __future__ import annotations

import argparse
import re
from typing import Any

from zoo import catalog
from zoo.cli import numbers, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo show`."""
    parser.add_argument("model", help="a name that `zoo list` prints, or a .keras or .h5 file")
    parser.add_argument("--layers", action="store_true", help="build it and list its layers")
    parser.add_argument(
        "--input", metavar="HxWxC", type=_shape,
        help="input for --layers, or the number of features of a table (default: the paper's)",
    )  # fmt: skip
    parser.add_argument("--classes", metavar="N", type=numbers.whole(), help="classes for --layers")


def run(arguments: argparse.Namespace) -> None:
    """Prints the facts, and the layers when asked for."""
    from zoo.bundle import is_model_file

    if is_model_file(arguments.model):
        facts, shown = _file(arguments)
    else:
        facts = catalog.find_architecture(arguments.model)._asdict()
        shown = facts | {"year": str(facts["year"]), "settings": _settings(facts)}
    layers = _layers(arguments) if arguments.layers else None
    if arguments.json:
        print(text.document(facts | ({"layers": layers} if layers is not None else {})))
        return
    print(text.facts(shown))
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
    from zoo.bundle import is_model_file
    from zoo.models import create
    from zoo.models.saved import load_model

    if is_model_file(arguments.model):
        return [row._asdict() for row in account.layer_table(load_model(arguments.model))]
    made = create(arguments.model, input_shape=arguments.input, num_classes=arguments.classes)
    if not isinstance(made, dict):
        return [row._asdict() for row in account.layer_table(made)]
    return [
        row._asdict() | {"path": f"{name}/{row.path}"}
        for name, network in made.items()
        for row in account.layer_table(network)
    ]


def _file(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts of a file, as data and as they are shown."""
    from zoo.bundle import check_model_file

    check_model_file(arguments.model)  # before TensorFlow
    if arguments.input or arguments.classes:
        raise ValueError(
            f"{arguments.model}: got --input or --classes for a file, which has its own; expected "
            "neither."
        )
    from zoo.stages.own import facts

    found = facts(arguments.model)
    ends = {
        key: ", ".join(f"{name} {_shape_of(shape)}" for name, shape in found[key].items())
        for key in ("inputs", "outputs")
    }
    more = {
        "file_bytes": text.size(found["file_bytes"]),
        "custom_layers": ", ".join(found["custom_layers"]) or "none",
    }
    return found, {**found, **ends, **more}


def _shape_of(shape: list[Any]) -> str:
    *sizes, dtype = shape
    return f"({' x '.join('?' if size is None else str(size) for size in sizes)}, {dtype})"


def _settings(facts: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in facts["settings"].items()) or "none"


def _shape(value: str) -> tuple[int, ...]:
    parts = value.split("x")
    fits = all(re.fullmatch("[1-9][0-9]{0,8}", part, re.ASCII) for part in parts)
    if len(parts) not in (1, 3) or not fits:
        raise argparse.ArgumentTypeError(f"got {value!r}; expected e.g. 32x32x1, or 30 of a table")
    return tuple(map(int, parts))
