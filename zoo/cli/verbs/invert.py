"""Make a picture that a layer of a network takes for the given one: what the layer still knows."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import painting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo invert`."""
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file")
    parser.add_argument("--layer", required=True, metavar="NAME", help="a layer that gives maps")
    painting.add_arguments(parser, steps=200, optimizer="lbfgs")


def run(arguments: argparse.Namespace) -> None:
    """Inverts, writes and prints."""
    painting.check(arguments, [arguments.picture])
    from zoo.explain.inversion import HOW
    from zoo.stages.painting import invert

    out = Path(f"{arguments.picture.stem}-invert.png")
    request = painting.request(arguments, HOW, out=out)
    painting.tell(arguments, invert(arguments.picture, layer=arguments.layer, request=request))
