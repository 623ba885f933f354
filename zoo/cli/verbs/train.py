"""Train a model of the zoo and write a bundle.

Ctrl-C leaves a usable bundle, SIGTERM a snapshot, within seconds; --resume continues an unfinished
run exactly.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.cli import text
from zoo.common import staging

if TYPE_CHECKING:
    import keras

    from zoo.bundle import Bundle

DEFAULT = Path()  # of --tensorboard: beside the bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo train`."""
    parser.add_argument("model", help="a name that `zoo list` prints, or a recipe.yaml")
    parser.add_argument(
        "--data", metavar="NAME", help="a data set, folder:PATH, records:PATH, or gym:NAME"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="the bundle (default: runs/MODEL)")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="change a setting of the recipe, e.g. train.epochs=5; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--style", metavar="PICTURE", help="of fast_style: whose manner is learnt, task.style"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a run of seconds: the recipe's smoke block"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the recipe and stop")
    parser.add_argument("--resume", action="store_true", help="continue the unfinished run")
    parser.add_argument(
        "--resume-if-any", action="store_true",
        help="continue the unfinished run if there is one, else begin: a command to repeat",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is at --out")
    parser.add_argument(
        "--tensorboard", nargs="?", metavar="DIR", type=Path, const=DEFAULT,
        help="write curves for TensorBoard (default: tensorboard/NAME beside the bundle NAME)",
    )  # fmt: skip
    parser.add_argument(
        "--callback", action="append", default=[], metavar="MODULE:NAME", dest="callbacks",
        help="a Keras callback of a module or FILE.py, e.g. \"mine.py:Log(every=10)\"; may be "
        "repeated",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Trains, and prints what came of it."""
    from zoo import datasets, environments
    from zoo.cli import own_callbacks
    from zoo.recipe import resolve

    for one in arguments.callbacks:
        own_callbacks.parsed(one)
    if arguments.style is not None:
        arguments.changes.append(f"task.style={json.dumps(arguments.style)}")
    recipe = resolve(
        arguments.model, data=arguments.data, changes=arguments.changes, smoke=arguments.smoke
    )
    if recipe.environment is None:
        datasets.check_name(recipe.data.name)
    else:
        environments.check_name(recipe.environment.name)
    if arguments.dry_run:
        values = recipe.model_dump(mode="json")
        print(text.document(values) if arguments.json else recipe.to_yaml(), end="")
        return 0
    from zoo.training import workers

    worker = workers.of(recipe.hardware)
    chief = worker is None or worker.chief
    resume: bool | Literal["if any"] = "if any" if arguments.resume_if_any else False
    resume = bool(arguments.resume) or resume
    out = arguments.out or Path("runs") / recipe.model
    if chief:  # before TensorFlow
        staging.check_free(out, force=arguments.force or bool(resume))
    from zoo.training.fitting import fit

    bundle = fit(
        arguments.model,
        data=arguments.data,
        out=arguments.out,
        changes=arguments.changes,
        resume=resume,
        force=arguments.force,
        smoke=arguments.smoke,
        callbacks=_callbacks(arguments, out, goes_on=bool(resume)) if chief else [],
    )
    report = bundle.report
    if not chief:
        return 130 if report.status == "interrupted" else 0
    if arguments.json:
        print(text.document({"bundle": str(bundle.path), **report.model_dump(mode="json")}))
    else:
        print(summary(bundle))
    if report.status == "interrupted":
        again = shlex.join(["zoo", "train", arguments.model, "--out", str(bundle.path), "--resume"])
        print(f"zoo train: interrupted; `{again}` continues this run.", file=sys.stderr)
        return 130
    return 0


def _callbacks(
    arguments: argparse.Namespace, out: Path, *, goes_on: bool
) -> list[keras.callbacks.Callback]:
    """What looks on: the bar, what the user brings, and what writes for TensorBoard."""
    from zoo.cli import own_callbacks
    from zoo.training.callbacks import tensorboard
    from zoo.training.callbacks.progress import ProgressBar

    callbacks = [ProgressBar(), *own_callbacks.make(arguments.callbacks)]
    if (place := arguments.tensorboard) is not None:
        place = out.parent / "tensorboard" / out.name if place == DEFAULT else place
        old = tensorboard.events(place)
        if old and not goes_on and not arguments.force:
            raise FileExistsError(
                f"{place}: holds the curves of another run; --force replaces them, or give "
                "--tensorboard another directory."
            )
        callbacks.append(tensorboard.TensorBoard(place, replaces=() if goes_on else old))
    return callbacks


def summary(bundle: Bundle) -> str:
    """Returns the table that closes a training."""
    report = bundle.report
    examples = "images" if bundle.recipe.environment is None else "episodes"
    facts = {
        "bundle": bundle.path,
        "data": report.source,
        **{f"test {name}": value for name, value in report.metrics.items()},
        f"test {examples}": report.examples["test"],
        "epochs": report.epochs,
        "seconds": f"{report.seconds['total']:.0f} ({report.seconds['epoch']:.1f} per epoch)",
        "examples/s": f"{report.examples_per_second:.0f}",
        "parameters": bundle.card.parameters,
        "model.keras": text.size((bundle.path / "model.keras").stat().st_size),
    }
    return text.facts(facts)
