"""Make more of a texture, from noise, by the Gram matrices of a network (Gatys et al. 2015)."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import painting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo texture`."""
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file")
    painting.add_arguments(parser, steps=100, optimizer="lbfgs")
    parser.add_argument(
        "--layers", type=painting.names, default=(), metavar="A,B,...",
        help="whose Gram matrices are looked at (default: those of a style)",
    )  # fmt: skip
    parser.add_argument(
        "--pooling", choices=("average", "max"), default="average", help="(default: average)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Makes, writes and prints."""
    painting.check(arguments, [arguments.picture])
    from zoo.explain.styles import ALIKE, TEXTURE
    from zoo.stages.painting import texture

    out = Path(f"{arguments.picture.stem}-texture.png")
    request = painting.request(arguments, TEXTURE, out=out)
    blend = ALIKE._replace(style_layers=arguments.layers, pooling=arguments.pooling)
    painting.tell(arguments, texture(arguments.picture, blend=blend, request=request))
