"""Say what sets two classifiers apart: what they answer, where they look, what each class paid.

RUN is a bundle, the name of one that comes with the zoo, or a .keras or .h5 file; both read
pictures of one size and tell the same classes apart. The pictures are the test split of the first
one's data, or those of --pictures. The pictures that the second does worse on are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import numbers, own_model, text
from zoo.cli.verbs.explain import found

CLASSES, WORST = 5, 6  # rows that are printed
FACTS = {
    "top1": "top-1", "ece": "calibration error", "confidence": "mean confidence",
    "margin": "distance to the border, levels",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo compare`."""
    parser.add_argument("one", metavar="RUN_A", help="e.g. what was compressed")
    parser.add_argument("other", metavar="RUN_B", help="e.g. what came of it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--pictures", type=Path, metavar="DIR",
        help="pictures; those in a sub-folder that is named like a class are of it",
    )  # fmt: skip
    what.add_argument("--data", metavar="NAME", help="a data set, or folder:PATH")
    parser.add_argument(
        "--examples", type=numbers.whole(2), default=1000, metavar="N",
        help="pictures of the test split, at most (default: 1000)",
    )  # fmt: skip
    own_model.add_arguments(parser, data=False)
    parser.add_argument(
        "--out", type=Path, metavar="F.png",
        help="the pictures, and F.json the rest (default: A-B.png, here)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the files of --out")


def run(arguments: argparse.Namespace) -> None:
    """Compares, and prints a screen."""
    runs = [found(name) for name in (arguments.one, arguments.other)]
    if arguments.pictures is not None and not arguments.pictures.is_dir():
        raise FileNotFoundError(f"--pictures: {arguments.pictures}: no such folder.")
    names = [Path(name).stem for name in (arguments.one, arguments.other)]
    out = arguments.out or Path(f"{'-'.join(names)}.png")

    from zoo.stages.compare import compare

    made = compare(
        *runs,
        pictures=arguments.pictures,
        data=arguments.data,
        examples=arguments.examples,
        values=arguments.values,
        out=out,
        force=arguments.force,
    )
    if arguments.json:
        print(text.document(made.facts))
    else:
        print(told(made.facts))
        print(f"\n{out}, {out.with_suffix('.json')}")


def told(facts: dict[str, Any]) -> str:
    """Returns a comparison as text, a screen of it."""
    from zoo.stages.compare import told as line

    sides = facts["sides"]
    names = [side["name"] for side in sides]
    if names[0] == names[1]:
        names = [
            f"{name} ({place})" for name, place in zip(names, ("first", "second"), strict=True)
        ]
    rows = [
        (label, *(_cell(key, side.get(key)) for side in sides))
        for key, label in FACTS.items()
        if any(key in side for side in sides)
    ]
    parts = [text.table((f"{facts['pictures']} {facts['of']}", *names), rows), line(facts)]
    if "classes" in facts:
        parts[-1] += (
            f"\nhurt {facts['hurt']}, which the first alone names right; mended {facts['mended']}"
        )
        changed = [row for row in facts["classes"] if row["hurt"] or row["mended"]]
        table = [
            (row["class"], row["pictures"], f"{row['first']:.1%}", f"{row['second']:.1%}",
             row["hurt"], row["mended"])
            for row in changed[:CLASSES]
        ]  # fmt: skip
        header = ("class", "pictures", *names, "hurt", "mended")
        parts.append(text.table(header, table) if table else "no class changed")
        if len(changed) > CLASSES:
            parts[-1] += f"\nand {len(changed) - CLASSES} more classes"
    worst = [
        (row["picture"], row["label"], f"{row['first']} {row['first_probability']:.2f}",
         f"{row['second']} {row['second_probability']:.2f}", f"{row['fall']:.3f}")
        for row in facts["worst"][:WORST]
    ]  # fmt: skip
    if worst:
        parts.append(text.table(("picture", "is a", *names, "probability lost"), worst))
    return "\n\n".join(parts)


def _cell(key: str, value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.2f}" if key == "margin" else f"{value:.2%}"
