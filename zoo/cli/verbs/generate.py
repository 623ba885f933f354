"""Make new pictures, or text, with a bundle. The same seed makes the same ones.

Pictures are written as a grid, by default to BUNDLE.png in this directory, or where --out says so,
as a film where that ends in .gif; text is printed, and written where --out says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import numbers, text
from zoo.common import plain_yaml

# What `--set` is not for, and what it is said by.
_OWN = {
    "bundle": "the first word",
    "count": "--count",
    "seed": "--seed",
    "out": "--out",
    "force": "--force",
    "label": "--class",
    "walk": "--walk",
    "start": "--from",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo generate`."""
    parser.add_argument(
        "bundle",
        type=Path,
        help="a directory that `zoo train` wrote, or a model that comes with the zoo, e.g. vae",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--count", type=numbers.integer, default=64, metavar="N", help="default: 64"
    )
    parser.add_argument("--seed", type=numbers.integer, default=0, metavar="S", help="default: 0")
    parser.add_argument(
        "--class", metavar="NAME", dest="label",
        help="of a conditional model: the class to make, by its name or its index",
    )  # fmt: skip
    parser.add_argument(
        "--walk", action="store_true",
        help="pictures on a path between random codes, or those of --from",
    )  # fmt: skip
    parser.add_argument(
        "--from", metavar="PICTURE", action="append", default=[], dest="start",
        help="a picture to begin with, as the task understands it; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="options",
        help="an option of the task; may be repeated",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the file at --out")


def run(arguments: argparse.Namespace) -> None:
    """Makes, writes and prints."""
    from zoo.bundle import find_bundle

    bundle = find_bundle(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    options = _options(arguments.options)
    from zoo.stages.generate import generate, makes

    out = arguments.out
    if out is None and makes(bundle.card) == "pictures":
        out = Path(f"{bundle.path.resolve().name}.png")

    made = generate(
        bundle,
        count=arguments.count,
        seed=arguments.seed,
        out=out,
        force=arguments.force,
        label=arguments.label,
        walk=arguments.walk,
        start=arguments.start or None,
        **options,
    )
    texts = made if isinstance(made, list) else []
    if arguments.json:
        values = {"bundle": str(bundle.path), "count": arguments.count, "seed": arguments.seed}
        print(text.document({**values, "file": str(out) if out else None, "texts": texts}))
        return
    for line in texts:
        print(line)
    if out is not None:
        things = ("text" if texts else "picture") + "s" * (len(made) != 1)
        print(f"{out}: {len(made)} {things}")


def _options(given: list[str]) -> dict[str, Any]:
    """The options by name; values are YAML, as in a recipe."""
    found: dict[str, Any] = {}
    for option in given:
        key, equals, value = option.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"--set: got {option!r}; expected key=value.")
        if key in _OWN:
            raise ValueError(f"--set: got {option!r}; expected {_OWN[key]} for that.")
        found[key] = plain_yaml.parse(value, f"--set {option}")
    return found
