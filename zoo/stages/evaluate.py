"""Measures a bundle afresh, or a file that was exported from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack, cast

import keras

from zoo.bundle import Bundle, find_bundle
from zoo.common import staging
from zoo.common.signatures import spelled_out
from zoo.data.dataset import DataSet
from zoo.stages import own
from zoo.stages.asking import run_of
from zoo.stages.opening import reopen
from zoo.tasks.task import Evaluation, Task
from zoo.training.run import SPLITS

FIGURES = "evaluation.json"  # in the folder of an evaluation


class Brought(TypedDict, total=False):
    """What belongs to a model that is no bundle, but for some changes.

    Attributes:
        data: What it is measured on: a name, `folder:PATH`, or a `zoo.data.DataSet`.
        changes: `key=value` changes, e.g. `task.kind=segment`. A bundle takes those of how it is
            measured, see `Task.measured_by`, e.g. `task.importance_samples=5000`.
        values: Range of the pixels that it takes, see `zoo.stages.asking.run_of`.
    """

    data: str | DataSet | None
    changes: Iterable[str]
    values: str | None


class Measured(NamedTuple):
    """What was measured.

    Attributes:
        evaluation: Metrics, tables and pictures.
        same_top1: Of a file, the share of examples on which it has the model's top-1; `None` of a
            model, or where the answer is no class.
        examples: Number of examples that were measured.
        whole: Whether they are those of the data set, not the few that the bundle keeps.
    """

    evaluation: Evaluation
    same_top1: float | None = None
    examples: int = 0
    whole: bool = True


@spelled_out(Brought)
def evaluate(
    bundle: Bundle | keras.Model | str | Path,
    split: str | None = None,
    *,
    file: str | Path | None = None,
    out: str | Path | None = None,
    force: bool = False,
    **brought: Unpack[Brought],
) -> Measured:
    """Loads a bundle's model afresh and measures it, or any Keras model on data.

        zoo.evaluate("runs/vgg16").evaluation.metrics["top1"]
        zoo.evaluate("own.keras", data="folder:pets").evaluation.metrics["top1"]

    Args:
        bundle: A bundle, or its directory; or a `.keras` or `.h5` file, or a Keras model.
        split: `train`, `validation`, `test` or `all` three; `None`: `test` of a bundle, `all` of a
            model that is none, and has learnt from something else.
        file: A deployable that was exported from the bundle, or a bundle that was compressed from
            it, to be measured in the model's place.
        out: Folder to be, of the evaluation's pictures, as PNG, and of its figures and tables,
            `evaluation.json`; `None` writes nothing.
        force: Whether `out` may replace the folder of an evaluation.
        **brought: What belongs to a model that is no bundle, see `Brought`.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError: There is no such bundle or file.
        ValueError: The split is unknown, or the task does not measure files.
    """
    if split not in (None, *SPLITS, "all"):
        raise ValueError(f"split: got {split!r}; expected {', '.join(SPLITS)} or all.")
    if "changes" in brought:
        brought["changes"] = list(brought["changes"])  # they are read twice
    if out is None:
        return _measured(bundle, split, file, brought)
    with staging.staged(out, force=force, mark=FIGURES) as stage:  # held before the work
        found = _measured(bundle, split, file, brought)
        for name, draw in found.evaluation.pictures.items():
            draw(stage / f"{name}.png")
        path = getattr(bundle, "path", bundle)
        values = {
            "bundle": str(path) if isinstance(path, str | Path) else None,
            "changes": brought.get("changes", []),
            "examples": found.examples,
            "metrics": found.evaluation.metrics,
            "tables": found.evaluation.tables,
        }
        (stage / FIGURES).write_text(json.dumps(values, indent=2) + "\n")
    return found


def _measured(
    bundle: Bundle | keras.Model | str | Path,
    split: str | None,
    file: str | Path | None,
    brought: Brought,
) -> Measured:
    """See `evaluate`."""
    if own.is_own(bundle):
        data = brought.get("data")
        if data is None or file is not None:
            raise ValueError(
                "evaluate: got a model that is no bundle; expected the data to measure it on, "
                "--data folder:PATH (`data=`), and no --file."
            )
        model, _, _, loss = own.opened(bundle)
        changes, values = brought.get("changes", ()), brought.get("values")
        run = run_of(model, data, changes=changes, values=values, loss=loss)
        split = split or "all"
        examples = own.count(run, split)
        return Measured(own.evaluate(run, model, split), None, examples, True)
    bundle = find_bundle(bundle)
    changes = list(brought.get("changes", ()))
    allowed = [f"task.{name}" for name in cast(Task, bundle.recipe.task).measured_by]
    others = [change for change in changes if change.partition("=")[0] not in allowed]
    if others or set(brought) - {"changes"}:
        told = ", ".join([*sorted(set(brought) - {"changes"}), *others])
        known = "no change"
        if allowed:
            known = f"changes of how it is measured, {', '.join(allowed)}"
        raise ValueError(
            f"{bundle.path}: got {told} for a bundle, which has its own; expected a .keras file, "
            f"or {known}."
        )
    opened = reopen(bundle, changes)
    split = split or "test"
    examples = own.count(opened.run, split)
    if file is None:
        found = own.evaluate(opened.run, opened.run.networks, split)
        return Measured(found, None, examples, opened.whole)
    from zoo.stages.files import evaluate_file

    found, same = evaluate_file(Path(file), opened, split)
    return Measured(found, same, examples, opened.whole)
