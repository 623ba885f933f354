"""An exported file, measured on what its model is measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from export.manifest import Manifest
from export.targets import find_target
from zoo.tasks.task import Evaluation, predict_all
from zoo.training.run import Run

SAMPLES = 256  # that the export compares


def integers(work: Run, model: Any, directory: Path) -> dict[str, Any]:
    """Writes the integer file of a quantised model, and says how it does on the test split.

    Args:
        work: The run of the bundle.
        model: Has ranges of its own.
        directory: Of the deployable, to be written.
    """
    import export

    made = export.export(model, "tflite-int8", directory, samples=work.samples(SAMPLES))
    found, same = measure(directory, work, model, "test")
    manifest = made.manifest
    return {
        "bytes": manifest.size_bytes,
        "gzip_bytes": manifest.gzip_bytes,
        "metrics": found.metrics,
        "same_top1": same,
        "operators": manifest.operators,
    }


def measure(directory: Path, work: Run, model: Any, split: str) -> tuple[Evaluation, float]:
    """Runs an exported file on a split.

    Args:
        directory: A deployable.
        work: The run of the bundle.
        model: That of the bundle.
        split: Name of the split.

    Returns:
        What was measured, and the share of examples on which model and file have the same top-1.
    """
    manifest = Manifest.read(directory)
    expected, labels = predict_all(model, work.feed(split))
    images = work.preprocessing.apply(getattr(work.data, split).images)
    name = manifest.signature.inputs[0].name
    session = find_target(manifest.target, manifest.options).open(directory / manifest.file)
    outputs = session.run({name: images})
    (got,) = outputs.values()
    same = float(np.mean(np.argmax(got, -1) == np.argmax(expected, -1)))
    return work.task.score(labels, got), same
