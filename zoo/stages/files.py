"""An exported file, measured on what its model is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.manifest import Manifest
from export.targets import find_target
from zoo.stages.opening import Opened
from zoo.tasks.task import Evaluation

SAMPLES = 256  # that the export compares


def integers(opened: Opened, model: Any, directory: Path) -> dict[str, Any]:
    """Writes the integer file of a quantised model, and says how it does on the test split.

    Args:
        opened: The bundle that the model was made from.
        model: Has ranges of its own.
        directory: Directory of the deployable, to be written.
    """
    import export

    made = export.export(model, "tflite-int8", directory, samples=opened.run.samples(SAMPLES))
    manifest = made.manifest
    facts: dict[str, Any] = {
        "bytes": manifest.size_bytes,
        "gzip_bytes": manifest.gzip_bytes,
        "operators": manifest.operators,
    }
    if opened.run.task.deployed_answers:
        found, same = evaluate_file(directory, opened._replace(model=model), "test")
        facts |= {"metrics": found.metrics, "same_top1": same}
    return facts


def evaluate_file(directory: Path, opened: Opened, split: str) -> tuple[Evaluation, float | None]:
    """Runs an exported file on a split.

    Args:
        directory: A deployable.
        opened: Its bundle.
        split: Name of the split.

    Returns:
        What was measured, and the share of examples on which model and file have the same top-1;
        `None` where the answer is no class.

    Raises:
        ValueError: The task is not measured by what its deployed model answers.
    """
    task = opened.run.task
    if not task.deployed_answers:
        raise ValueError(
            f"{directory}: the task {task.kind} is not measured by the answers of its deployed "
            "model alone; expected a bundle of e.g. classify. Its export has compared both."
        )
    manifest = Manifest.read(directory)
    session = find_target(manifest.target, manifest.options).open(directory / manifest.file)
    names = [spec.name for spec in manifest.signature.inputs]
    agreement = _Agreement()

    def call(inputs: Any) -> Any:
        inputs = inputs if isinstance(inputs, dict) else {names[0]: inputs}
        outputs = session.run(inputs)
        got = outputs if len(outputs) > 1 else next(iter(outputs.values()))
        agreement.add(opened.model, inputs, got)
        return got

    def answer(columns: Mapping[str, np.ndarray]) -> Any:
        return task.asked(call, opened.run.networks, columns)

    found = opened.run.evaluate(opened.model, split, answer=answer)
    return found, agreement.share


class _Agreement:
    """Counts the examples on which a file and its model have the same largest output."""

    def __init__(self) -> None:
        self._same = self._all = 0

    def add(self, model: Any, inputs: Mapping[str, np.ndarray], got: Any) -> None:
        """Compares some examples."""
        if not isinstance(got, np.ndarray) or got.ndim != 2:
            return
        values = list(inputs.values())
        expected = model.predict_on_batch(values if len(values) > 1 else values[0])
        self._same += int((np.argmax(got, -1) == np.argmax(expected, -1)).sum())
        self._all += len(got)

    @property
    def share(self) -> float | None:
        """The share; `None` where nothing was compared."""
        return self._same / self._all if self._all else None
