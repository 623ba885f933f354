"""Paint what one picture shows in the manner of another, or of a bundle that has learnt one.

The manner of a picture is optimised (Gatys et al. 2016), in minutes; a bundle of fast_style paints
at once, in the picture's own size.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import numbers, painting, text
from zoo.explain.pictures.ways import STYLE, Blend

KIND = "fast_style"
SLOW = ("network", "values", "every", "start")  # further options that a bundle does not take


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo style`."""
    parser.add_argument("content", type=Path, metavar="CONTENT", help="a picture file")
    parser.add_argument(
        "look", type=Path, metavar="STYLE",
        help="a picture file, or a bundle that `zoo train fast_style` wrote",
    )  # fmt: skip
    painting.add_arguments(parser, STYLE)
    parser.add_argument("--start", choices=("content", "noise"), help="(default: content)")
    for name in ("content", "style", "variation"):
        parser.add_argument(
            f"--{name}-weight", type=numbers.from_zero, metavar="W",
            help=f"(default: {getattr(Blend(), name):g})",
        )  # fmt: skip
    painting.add_layers(parser, "of the style")
    parser.add_argument("--content-layer", metavar="NAME")
    painting.add_pooling(parser)


def run(arguments: argparse.Namespace) -> None:
    """Paints, writes and prints."""
    content, look = arguments.content, arguments.look
    out = arguments.out or Path(f"{content.stem}-{look.stem}.png")
    if not look.is_file():
        _fast(arguments, out)
        return
    painting.check(arguments, [content], STYLE)
    from zoo.stages.understand.painting import style

    blend = Blend(**painting.blended(arguments, tuple(painting.BLEND)))
    request = painting.request(arguments, STYLE, out=out)
    start: Any = arguments.start or "content"
    made = style(content, look, blend=blend, start=start, request=request)
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
    given = painting.said(arguments, (*painting.WAY, *painting.BLEND, *SLOW))
    if given and bundle.card.task == KIND:
        name, value = next(iter(given.items()))
        value = ",".join(value) if isinstance(value, tuple) else value
        raise ValueError(
            f"--{name.replace('_', '-')}: got {value} for {bundle.path}, which has learnt a "
            "manner and takes --size alone; expected it with a picture file for a style."
        )
    if not arguments.content.exists():
        raise FileNotFoundError(f"{arguments.content}: no such file.")
    from zoo.stages.understand.styled import paint_fast

    pixels = paint_fast(
        bundle, arguments.content, size=arguments.size, out=out, force=arguments.force
    )
    height, width = pixels.shape[:2]
    facts = {"file": str(out), "width": width, "height": height, "bundle": str(bundle.path)}
    print(text.document(facts) if arguments.json else f"{out}: {width} x {height} pixels")
