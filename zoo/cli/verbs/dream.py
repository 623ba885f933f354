"""Show what layers of a network find in a picture, more of it in every step (DeepDream)."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import painting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo dream`."""
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file")
    painting.add_arguments(parser, steps=10, optimizer="gradient")
    parser.add_argument(
        "--layers", type=painting.names, default=(), metavar="A,B,...",
        help="those whose answers grow (default: that of a style's content)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Dreams, writes and prints."""
    painting.check(arguments, [arguments.picture])
    from zoo.explain.dreams import HOW
    from zoo.stages.painting import dream

    out = Path(f"{arguments.picture.stem}-dream.png")
    request = painting.request(arguments, HOW, out=out)
    painting.tell(arguments, dream(arguments.picture, layers=arguments.layers, request=request))
