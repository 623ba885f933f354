"""Make a picture that a layer of a network takes for the given one: what the layer still knows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import painting
from zoo.explain.pictures.ways import INVERT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo invert`."""
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file")
    parser.add_argument("--layer", required=True, metavar="NAME", help="a layer that gives maps")
    painting.add_arguments(parser, INVERT)


def run(arguments: argparse.Namespace) -> None:
    """Inverts, writes and prints."""

    def make(request: Any) -> Any:
        from zoo.stages.understand.painting import invert

        return invert(arguments.picture, layer=arguments.layer, request=request)

    painting.paint(arguments, INVERT, "invert", make)
