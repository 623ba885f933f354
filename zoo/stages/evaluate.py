"""Measures a bundle afresh, or a file that was exported from it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from zoo.bundle import Bundle, find_bundle
from zoo.stages.opening import reopen
from zoo.tasks.task import Evaluation


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


def evaluate(
    bundle: Bundle | str | Path, split: str = "test", *, file: str | Path | None = None
) -> Measured:
    """Loads a bundle's model afresh and measures it.

    Args:
        bundle: A bundle, or its directory.
        split: `train`, `validation` or `test`.
        file: A deployable that was exported from the bundle, to be measured in the model's place.

    Raises:
        FileNotFoundError: There is no such bundle or file.
        ValueError: The split is unknown, or the task does not measure files.
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split: got {split!r}; expected train, validation or test.")
    bundle = find_bundle(bundle)
    opened = reopen(bundle)
    examples = opened.run.examples(split)
    if file is None:
        found = opened.run.evaluate(opened.run.networks, split)
        return Measured(found, None, examples, opened.whole)
    from zoo.stages.files import evaluate_file

    found, same = evaluate_file(Path(file), opened, split)
    return Measured(found, same, examples, opened.whole)
