"""Paint what one picture shows in the manner of another, or of a bundle that has learnt one.

The manner of a picture is optimised (Gatys et al. 2016), in minutes; a bundle of fast_style paints
at once, in the picture's own size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import numbers, painting, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo style`."""
    parser.add_argument("content", type=Path, metavar="CONTENT", help="a picture file")
    parser.add_argument(
        "look", type=Path, metavar="STYLE",
        help="a picture file, or a bundle that `zoo train fast_style` wrote",
    )  # fmt: skip
    painting.add_arguments(parser, steps=100, optimizer="lbfgs")
    parser.add_argument(
        "--start", choices=("content", "noise"), default="content", help="(default: content)"
    )
    for name, usual in (("content", 1), ("style", 10), ("variation", 1)):
        parser.add_argument(
            f"--{name}-weight", type=numbers.from_zero, default=float(usual), metavar="W",
            help=f"(default: {usual})",
        )  # fmt: skip
    parser.add_argument(
        "--layers", type=painting.names, default=(), metavar="A,B,...", help="of the style"
    )
    parser.add_argument("--content-layer", metavar="NAME")
    parser.add_argument(
        "--pooling", choices=("average", "max"), default="average", help="(default: average)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Paints, writes and prints."""
    content, look = arguments.content, arguments.look
    out = arguments.out or Path(f"{content.stem}-{look.stem}.png")
    if not look.is_file():
        _fast(arguments, out)
        return
    painting.check(arguments, [content])
    from zoo.explain.styles import HOW, Blend
    from zoo.stages.painting import style

    blend = Blend(
        content=arguments.content_weight,
        style=arguments.style_weight,
        variation=arguments.variation_weight,
        style_layers=arguments.layers,
        content_layer=arguments.content_layer,
        pooling=arguments.pooling,
    )
    request = painting.request(arguments, HOW, out=out)
    made = style(content, look, blend=blend, start=arguments.start, request=request)
    painting.tell(arguments, made)


def _fast(arguments: argparse.Namespace, out: Path) -> None:
    """Paints with a bundle."""
    from zoo.bundle import find_bundle

    try:
        bundle = find_bundle(arguments.look)  # before TensorFlow
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{arguments.look}: no such picture, nor a bundle of fast_style."
        ) from error
    if not arguments.content.exists():
        raise FileNotFoundError(f"{arguments.content}: no such file.")
    from zoo.stages.styled import paint_fast

    pixels = paint_fast(
        bundle, arguments.content, size=arguments.size, out=out, force=arguments.force
    )
    height, width = pixels.shape[:2]
    facts = {"file": str(out), "width": width, "height": height, "bundle": str(bundle.path)}
    print(text.document(facts) if arguments.json else f"{out}: {width} x {height} pixels")
