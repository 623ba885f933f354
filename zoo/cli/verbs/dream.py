"""Show what layers of a network find in a picture, more of it in every step (DeepDream)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import painting
from zoo.explain.pictures.ways import DREAM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo dream`."""
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file")
    painting.add_arguments(parser, DREAM)
    painting.add_layers(parser, "whose answers grow (default: that of a style's content)")


def run(arguments: argparse.Namespace) -> None:
    """Dreams, writes and prints."""

    def make(request: Any) -> Any:
        from zoo.stages.understand.painting import dream

        return dream(arguments.picture, layers=arguments.layers or (), request=request)

    painting.paint(arguments, DREAM, "dream", make)
