"""Make a photograph larger with a bundle of super-resolution, e.g. espcn3.

The answer is written to PHOTO-BUNDLE.png in this directory, and bicubic interpolation beside it, to
PHOTO-BUNDLE-bicubic.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo enhance`."""
    parser.add_argument(
        "bundle", type=Path, help="a directory that `zoo train` wrote, or a model of the zoo"
    )
    parser.add_argument("photo", type=Path, help="an image file of any size")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the PNG to write")
    parser.add_argument("--force", action="store_true", help="replace the files that are there")


def run(arguments: argparse.Namespace) -> None:
    """Makes, writes and prints."""
    from zoo.bundle import find_bundle

    bundle = find_bundle(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    if not arguments.photo.exists():
        raise FileNotFoundError(f"{arguments.photo}: no such file.")
    from zoo.stages.enhance import enhance

    out = arguments.out or Path(f"{arguments.photo.stem}-{bundle.path.resolve().name}.png")
    made = enhance(bundle, arguments.photo, out=out, force=arguments.force)
    height, width = made.pixels.shape[:2]
    beside = out.with_name(f"{out.stem}-bicubic.png")
    if arguments.json:
        print(
            text.document(
                {
                    "bundle": str(bundle.path),
                    "photo": str(arguments.photo),
                    "file": str(out),
                    "bicubic": str(beside),
                    "scale": made.scale,
                    "width": width,
                    "height": height,
                }
            )
        )
        return
    print(f"{out}: {width} x {height} pixels")
    print(f"{beside}: the same, bicubic")
