"""Make more of a texture, from noise, by the Gram matrices of a network (Gatys et al. 2015)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import painting
from zoo.explain.pictures.ways import ALIKE, TEXTURE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo texture`."""
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a picture file")
    painting.add_arguments(parser, TEXTURE)
    painting.add_layers(parser, "whose Gram matrices are looked at (default: those of a style)")
    painting.add_pooling(parser)


def run(arguments: argparse.Namespace) -> None:
    """Makes, writes and prints."""

    def make(request: Any) -> Any:
        from zoo.stages.understand.painting import texture

        blend = ALIKE._replace(**painting.blended(arguments, ("layers", "pooling")))
        return texture(arguments.picture, blend=blend, request=request)

    painting.paint(arguments, TEXTURE, "texture", make)
