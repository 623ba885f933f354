"""Say what sets two classifiers apart: what they answer, where they look, what each class paid.

RUN is a bundle, the name of one that comes with the zoo, or a .keras or .h5 file; both read
pictures of one size and tell the same classes apart. --values A,B is a range for each of two files.
The pictures are the test split of the first one's data, or those of --pictures. The pictures that
the second does worse on are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import numbers, own_model, tables, text
from zoo.explain.methods import COMPARED

WORST = 6  # rows that are printed
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
        "--examples", type=numbers.whole(2), metavar="N",
        help=f"pictures of the test split, at most (default: {COMPARED})",
    )  # fmt: skip
    own_model.add_arguments(parser, data=False)
    parser.add_argument(
        "--labels", metavar="A,B,...", type=lambda names: names.split(","), default=(),
        help="of .keras files: names of their classes, in their order",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="F.png",
        help="the pictures, and F.json the rest (default: A-B.png, here)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the files of --out")


def run(arguments: argparse.Namespace) -> None:
    """Compares, and prints a screen."""
    runs = [own_model.found_classifier(name) for name in (arguments.one, arguments.other)]
    if arguments.pictures is not None and arguments.examples is not None:
        raise ValueError(
            f"--examples: got {arguments.examples} for --pictures, all of which are taken; expected"
            " it with a test split."
        )
    if arguments.pictures is not None and not arguments.pictures.is_dir():
        raise FileNotFoundError(f"--pictures: {arguments.pictures}: no such folder.")
    names = [Path(name).stem for name in (arguments.one, arguments.other)]
    out = arguments.out or Path(f"{'-'.join(names)}.png")

    from zoo.stages.understand.compare import compare

    made = compare(
        *runs,
        pictures=arguments.pictures,
        data=arguments.data,
        examples=arguments.examples or COMPARED,
        values=arguments.values,
        labels=arguments.labels,
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
    from zoo.stages.understand.classifiers import told_apart
    from zoo.stages.understand.compare import told as line

    sides = facts["sides"]
    names = told_apart([side["name"] for side in sides])
    rows = [
        (label, *(_cell(key, side, facts["attacked"]) for side in sides))
        for key, label in FACTS.items()
        if any(key in side for side in sides)
    ]
    parts = [text.table((f"{facts['pictures']} {facts['of']}", *names), rows), line(facts)]
    if "classes" in facts:
        parts[-1] += f"\n{tables.paid(facts, names)}"
    worst = [
        (row["picture"], row["label"], f"{row['first']} {row['first_probability']:.2f}",
         f"{row['second']} {row['second_probability']:.2f}", f"{row['fall']:.3f}")
        for row in facts["worst"][:WORST]
    ]  # fmt: skip
    if worst:
        parts.append(text.table(("picture", "is a", *names, "probability lost"), worst))
    return "\n\n".join(parts)


def _cell(key: str, side: dict[str, Any], attacked: int) -> str | None:
    value = side.get(key)
    if key == "margin" and key in side:  # there is no median where most were not fooled
        far = "beyond" if value is None else f"{value:.2f}"
        return far if side["fooled"] == attacked else f"{far} ({side['fooled']} of {attacked})"
    return None if value is None else f"{value:.2%}"
