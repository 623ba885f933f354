"""What the verbs that make pictures share: their arguments, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.cli import numbers, own_model, text

USUAL, SIZE = "vgg16-edges", 256  # of `zoo.stages.painting`, which is not imported for a text


def add_arguments(parser: argparse.ArgumentParser, *, steps: int, optimizer: str) -> None:
    """Adds the arguments.

    Args:
        parser: Parser of the verb.
        steps: Usual number of steps.
        optimizer: The usual one.
    """
    parser.add_argument("--out", type=Path, metavar="F.png", help="(default: named after it, here)")
    parser.add_argument(
        "--size", type=numbers.whole(32), metavar="PIXELS", help=f"longer side (default: {SIZE})"
    )
    parser.add_argument(
        "--network", default=USUAL, metavar="NAME",
        help="what looks: weights that `zoo weights get` fetched, e.g. mobilenet_v2-imagenet, a"
        f" bundle, or a .keras file (default: {USUAL})",
    )  # fmt: skip
    own_model.add_arguments(parser, data=False)
    parser.add_argument(
        "--steps", type=numbers.whole(), metavar="N", help=f"of each octave (default: {steps})"
    )
    parser.add_argument(
        "--optimizer", choices=("lbfgs", "adam", "gradient"), help=f"(default: {optimizer})"
    )
    parser.add_argument(
        "--rate", type=numbers.above_zero, metavar="R", help="length of a step, not of lbfgs"
    )
    parser.add_argument(
        "--octaves", type=numbers.whole(), metavar="N", help="sizes, from small to its own"
    )
    parser.add_argument("--seed", type=numbers.whole(0), default=0, metavar="N", help="a seed")
    parser.add_argument(
        "--every", type=numbers.whole(0), default=0, metavar="N",
        help="write the picture after every N steps too, F-0010.png ...",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def check(arguments: argparse.Namespace, pictures: Sequence[Path]) -> None:
    """Tells of what is not there before TensorFlow is imported."""
    from zoo import weights

    for picture in pictures:
        if not picture.exists():
            raise FileNotFoundError(f"{picture}: no such file.")
    row = weights.find_named(arguments.network, headless=True)
    if row is None:
        arguments.network = own_model.found(Path(arguments.network))
    elif not row.file.place.is_file():
        name = arguments.network if not row.num_classes else row.model
        raise FileNotFoundError(
            f"{arguments.network}: not there; fetch it with `zoo weights get {name}`, or take"
            " another --network."
        )


def request(arguments: argparse.Namespace, usual: Any, *, out: Path) -> Any:
    """Returns what was asked for.

    Args:
        arguments: Of the command line.
        usual: The usual way, of which what was said is changed.
        out: Where to, where nothing was said.
    """
    from zoo.stages.painting import Request

    said = {
        name: value
        for name in ("steps", "optimizer", "rate", "octaves", "seed")
        if (value := getattr(arguments, name)) is not None
    }
    return Request(
        network=arguments.network,
        values=arguments.values,
        size=arguments.size or SIZE,
        how=usual._replace(**said),
        out=arguments.out or out,
        every=arguments.every,
        force=arguments.force,
    )


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


def names(said: str) -> tuple[str, ...]:
    """The type of an option that takes layers."""
    return tuple(name for name in said.split(",") if name)
