"""What verbs ask of a model that is no bundle: its data, the range of its pixels, its code."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo import weights


def add_arguments(parser: argparse.ArgumentParser, *, data: bool = True) -> None:
    """Adds the arguments.

    Args:
        parser: Parser of the verb.
        data: Whether the verb takes data.
    """
    if data:
        parser.add_argument(
            "--data", metavar="NAME",
            help="of a .keras file: a data set, or folder:PATH with a sub-folder for each class",
        )  # fmt: skip
    parser.add_argument(
        "--values", metavar="RANGE",
        help="of a .keras file: what pixels become: 0..255, 0..1, -1..1, or torch,"
        " by ImageNet's mean and deviation"
        + (" (default: what it does best with)" if data else " (default: 0..255)"),
    )  # fmt: skip


def found(path: Path) -> Any:
    """Returns the path of a model's file, else the bundle; TensorFlow is not needed.

    Raises:
        FileNotFoundError: There is neither.
    """
    from zoo import bundle as bundles

    if bundles.is_model_file(path):
        bundles.check_model_file(path)
        return path
    return bundles.find_bundle(path)


def found_classifier(model: str) -> Any:
    """Returns what is opened to be looked into; TensorFlow is not needed.

    Raises:
        FileNotFoundError: There is none.
    """
    if weights.find_named(model) is not None and not Path(model).exists():
        return model
    return found(Path(model))


def brought(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what was said of the model."""
    names = ("data", "values", "labels")
    return {name: value for name in names if (value := getattr(arguments, name, None)) is not None}
