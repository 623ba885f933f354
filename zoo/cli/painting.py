"""What the verbs that make pictures share: their arguments, their way, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo import weights
from zoo.cli import numbers, own_model, text
from zoo.explain.pictures.ways import OPTIMIZERS, SIZE, Descent

WAY = ("steps", "optimizer", "rate", "octaves", "seed")  # options that are settings of `Descent`
BLEND = {  # options, and the settings of `Blend` that they are
    "content_weight": "content", "style_weight": "style", "variation_weight": "variation",
    "layers": "style_layers", "content_layer": "content_layer", "pooling": "pooling",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser, usual: Descent) -> None:
    """Adds the arguments; all are `None` where nothing is said.

    Args:
        parser: Parser of the verb.
        usual: The usual way.
    """
    parser.add_argument("--out", type=Path, metavar="F.png", help="(default: named after it, here)")
    parser.add_argument(
        "--size", type=numbers.whole(32), metavar="PIXELS", help=f"longer side (default: {SIZE})"
    )
    parser.add_argument(
        "--network", metavar="NAME",
        help="what looks: weights that `zoo weights get` fetched, e.g. mobilenet_v2-imagenet, a"
        f" bundle, or a .keras file (default: {weights.USUAL})",
    )  # fmt: skip
    own_model.add_arguments(parser, data=False)
    parser.add_argument(
        "--steps", type=numbers.whole(), metavar="N",
        help=f"of each octave (default: {usual.steps})",
    )  # fmt: skip
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help=f"(default: {usual.optimizer})")
    parser.add_argument(
        "--rate", type=numbers.above_zero, metavar="R",
        help=f"length of a step, not of lbfgs (default: {usual.rate})",
    )  # fmt: skip
    parser.add_argument(
        "--octaves", type=numbers.whole(), metavar="N",
        help=f"sizes, from small to its own (default: {usual.octaves})",
    )  # fmt: skip
    parser.add_argument("--seed", type=numbers.whole(0), metavar="N", help="a seed (default: 0)")
    parser.add_argument(
        "--every", type=numbers.whole(0), metavar="N",
        help="write the picture after every N steps too, F-0010.png ...",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def add_layers(parser: argparse.ArgumentParser, told: str) -> None:
    """Adds `--layers`.

    Args:
        parser: Parser of the verb.
        told: What they are.
    """
    parser.add_argument("--layers", type=names, metavar="A,B,...", help=told)


def add_pooling(parser: argparse.ArgumentParser) -> None:
    """Adds `--pooling`."""
    parser.add_argument("--pooling", choices=("average", "max"), help="(default: average)")


def said(arguments: argparse.Namespace, options: Sequence[str]) -> dict[str, Any]:
    """Returns those of some options that were given."""
    found = {name: getattr(arguments, name) for name in options}
    return {name: value for name, value in found.items() if value is not None}


def blended(arguments: argparse.Namespace, options: Sequence[str]) -> dict[str, Any]:
    """Returns the settings of `Blend` that some options said."""
    return {BLEND[name]: value for name, value in said(arguments, options).items()}


def check(arguments: argparse.Namespace, pictures: Sequence[Path], usual: Descent) -> None:
    """Tells of what does not fit or is not there before TensorFlow is imported."""
    way = usual._replace(**said(arguments, WAY))
    if arguments.rate is not None and way.optimizer == "lbfgs":
        others = " or ".join(one for one in OPTIMIZERS if one != "lbfgs")
        raise ValueError(
            f"--rate: got {arguments.rate:g} for lbfgs, which finds the length of a step itself; "
            f"expected --optimizer {others}."
        )
    for picture in pictures:
        if not picture.exists():
            raise FileNotFoundError(f"{picture}: no such file.")
    arguments.network = arguments.network or weights.USUAL
    row = weights.find_named(arguments.network, headless=True)
    if row is None:
        arguments.network = own_model.found(Path(arguments.network))
    elif not row.file.place.is_file():
        name = arguments.network if not row.num_classes else row.model
        raise FileNotFoundError(
            f"{arguments.network}: not there; fetch it with `zoo weights get {name}`, or take"
            " another --network."
        )


def request(arguments: argparse.Namespace, usual: Descent, *, out: Path) -> Any:
    """Returns what was asked for.

    Args:
        arguments: Of the command line, checked.
        usual: The usual way, of which what was said is changed.
        out: Where to, where nothing was said.
    """
    from zoo.stages.understand.painting import Request

    return Request(
        network=arguments.network,
        values=arguments.values,
        size=arguments.size or SIZE,
        how=usual._replace(**said(arguments, WAY)),
        out=arguments.out or out,
        every=arguments.every or 0,
        force=arguments.force,
    )


def paint(
    arguments: argparse.Namespace, usual: Descent, verb: str, make: Callable[[Any], Any]
) -> None:
    """Checks, makes a picture of `arguments.picture`, and prints.

    Args:
        arguments: Of the command line.
        usual: The usual way.
        verb: Name of the verb, which the picture is called by.
        make: Of a request, what it makes; it imports what it needs.
    """
    check(arguments, [arguments.picture], usual)
    out = Path(f"{arguments.picture.stem}-{verb}.png")
    tell(arguments, make(request(arguments, usual, out=out)))


def tell(arguments: argparse.Namespace, made: Any) -> None:
    """Prints what was made."""
    height, width = made.pixels.shape[:2]
    facts: dict[str, Any] = {
        "file": str(made.files[-1]),
        "width": width,
        "height": height,
        "network": str(getattr(arguments.network, "path", arguments.network)),
        "layers": list(made.layers),
        "loss at the start": float(made.losses[0]),
        "loss": float(made.losses[-1]),
        "terms": made.terms,
        "on the way": [str(file) for file in made.files[:-1]],
    }
    if arguments.json:
        print(text.document({**facts, "losses": made.losses.tolist()}))
        return
    facts["layers"] = " ".join(made.layers)
    facts["terms"] = ", ".join(f"{name} {value:.4g}" for name, value in made.terms.items())
    facts["on the way"] = " ".join(facts["on the way"])
    print(text.facts({name: value for name, value in facts.items() if value != ""}))


def names(told: str) -> tuple[str, ...]:
    """The type of an option that takes layers."""
    return tuple(name for name in told.split(",") if name)
