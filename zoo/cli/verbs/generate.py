"""Make new pictures, or text, with a bundle. The same seed makes the same ones.

Pictures are written as a grid, by default to BUNDLE.png in this directory, or where --out says so,
as a film where that ends in .gif; text is printed, and written where --out says so. The directory
of an exported language model, translator or captioner writes too, without TensorFlow.
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
    "prompt": "--prompt",
    "tokens": "--tokens",
    "temperature": "--temperature",
    "top_k": "--top-k",
    "top_p": "--top-p",
}
TEXT = ("prompt", "tokens", "temperature", "top_k", "top_p")  # what is said of texts alone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo generate`."""
    parser.add_argument(
        "bundle",
        type=Path,
        help="a directory that `zoo train` wrote, or a model that comes with the zoo, e.g. vae",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--count", type=numbers.integer, metavar="N", help="default: 64 pictures, or 1 text"
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
    parser.add_argument("--prompt", metavar="TEXT", help="of texts: what each begins with")
    parser.add_argument(
        "--tokens",
        type=numbers.whole(),
        metavar="N",
        help="of texts: tokens to write; default: 200",
    )
    parser.add_argument(
        "--temperature", type=numbers.from_zero, metavar="T",
        help="of texts: below 1 the likely becomes likelier, 0 takes the likeliest; default: 1",
    )  # fmt: skip
    parser.add_argument(
        "--top-k", type=numbers.whole(), metavar="K", dest="top_k",
        help="of texts: draw from the K likeliest tokens only",
    )  # fmt: skip
    parser.add_argument(
        "--top-p", type=numbers.above_zero, metavar="P", dest="top_p",
        help="of texts: draw from the likeliest tokens that together have the share P",
    )  # fmt: skip
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="options",
        help="an option of the task; may be repeated",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the file at --out")


def run(arguments: argparse.Namespace) -> None:
    """Makes, writes and prints."""
    from zoo.bundle import find_bundle
    from zoo.stages.generate import MANIFEST, generate, makes

    options = _options(arguments.options)
    told = {name: getattr(arguments, name) for name in TEXT}
    options |= {name: value for name, value in told.items() if value is not None}
    out, made_by = arguments.out, arguments.bundle
    if not (made_by / MANIFEST).is_file():
        made_by = find_bundle(made_by)  # before TensorFlow: a wrong path is told at once
        if out is None and makes(made_by.card) == "pictures":
            out = Path(f"{made_by.path.resolve().name}.png")
    path = getattr(made_by, "path", made_by)

    made = generate(
        made_by,
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
        values = {"bundle": str(path), "count": len(made), "seed": arguments.seed}
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
