"""An exported file, measured on what its model is measured on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.manifest import Manifest
from export.sameness import as_shares
from export.targets import find_target
from zoo.bundle import MODEL
from zoo.common import reading
from zoo.common.answers import scores
from zoo.common.columns import same_shape
from zoo.models.saved import load_model
from zoo.stages.labelled import labelled, ranked
from zoo.stages.opening import Opened
from zoo.tasks.task import Evaluation

SAMPLES = 256  # that the export compares
LOG = logging.getLogger("zoo")


def integers(opened: Opened, model: Any, directory: Path) -> dict[str, Any]:
    """Writes the integer file of a quantised model, and says how it does on the test split.

    Args:
        opened: The bundle that the model was made from.
        model: Has ranges of its own.
        directory: Directory of the deployable, to be written.
    """
    import export

    about = export.About(parent=opened.model, scores=scores(opened.bundle.card.outputs))
    samples = opened.run.samples(SAMPLES)
    known = labelled(opened.run, SAMPLES) if ranked(opened.run) else None
    made = export.export(
        model, "tflite-int8", directory, samples=samples, about=about, labelled=known
    )
    manifest = made.manifest
    facts: dict[str, Any] = {
        "bytes": manifest.size_bytes,
        "gzip_bytes": manifest.gzip_bytes,
        "operators": manifest.operators,
        "distance": manifest.distance and manifest.distance.model_dump(mode="json"),
    }
    if opened.run.task.deployed_answers:
        found, same = evaluate_file(directory, opened._replace(model=model), "test")
        facts |= {"metrics": found.metrics, "same_top1": same}
    return facts


def evaluate_file(directory: Path, opened: Opened, split: str) -> tuple[Evaluation, float | None]:
    """Runs an exported file, or another bundle's model, on a split.

    Args:
        directory: A deployable, or a bundle, e.g. one that was compressed.
        opened: Its bundle, or the one that is beside it.
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
    ask = (_bundled if (directory / MODEL).is_file() else _filed)(directory, opened)
    numbers = any(column.kind == "features" for column in opened.bundle.card.outputs.values())
    same: list[np.ndarray] = []

    def call(inputs: Any) -> Any:
        inputs = inputs if isinstance(inputs, dict) else {opened.model.inputs[0].name: inputs}
        values, got = list(inputs.values()), ask(inputs)
        if not numbers and (choice := task.chosen(got)) is not None:
            expected = opened.model.predict_on_batch(values if len(values) > 1 else values[0])
            same.append(choice == task.chosen(expected))
        return got

    def answer(columns: Mapping[str, np.ndarray]) -> Any:
        return task.asked(call, opened.run.networks, columns)

    found = opened.run.evaluate(opened.model, split, answer=answer)
    return found, float(np.mean(np.concatenate(same))) if same else None


def _bundled(directory: Path, opened: Opened) -> Callable[[dict[str, Any]], Any]:
    """What another bundle's model answers, by the names of the inputs."""
    model = load_model(directory)
    _check_model((model.inputs, model.outputs), opened.model, directory)

    def ask(inputs: dict[str, Any]) -> Any:
        values = list(inputs.values())
        return model.predict_on_batch(values if len(values) > 1 else values[0])

    return ask


def _filed(directory: Path, opened: Opened) -> Callable[[dict[str, Any]], Any]:
    """What a file answers, by the names of the model's inputs."""
    manifest, path = Manifest.of_file(directory)
    signature = manifest.keras or manifest.signature
    _check_model((signature.inputs, signature.outputs), opened.model, directory)
    if manifest.source_sha256 and manifest.source_sha256 != opened.bundle.sha256:
        LOG.warning(
            "%s: was exported from another model than that of %s", directory, opened.bundle.path
        )
    read = {str(opened.model.inputs[0].dtype), signature.inputs[0].dtype}
    raw = opened.run.preprocessing if read == {"float32", "uint8"} else None  # with --pixels
    session = _opened(manifest, path)
    names = [spec.name for spec in manifest.signature.inputs]
    files = {own: name for name, own in manifest.names.items()}  # names that the model has not
    cut = manifest.facts.get("logits", ())  # where the model gives shares

    def ask(inputs: dict[str, Any]) -> Any:
        if len(inputs) == 1:
            (values,) = inputs.values()
            if raw is not None:
                factor, offset = raw.affine
                values = np.rint((values - offset) / factor).astype(np.uint8)
            inputs = {names[0]: values}
        found = session.run({files.get(name, name): array for name, array in inputs.items()})
        found = as_shares(found, cut)
        outputs = {manifest.names.get(name, name): array for name, array in found.items()}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    return ask


def _check_model(ends: tuple[Sequence[Any], Sequence[Any]], model: Any, directory: Path) -> None:
    """Refuses another model, by the shapes of its inputs and outputs.

    Raises:
        ValueError: It is one.
    """
    for what, ours, tensors in zip(
        ("inputs", "outputs"), ends, (model.inputs, model.outputs), strict=True
    ):
        got, wanted = ([tuple(one.shape[1:]) for one in some] for some in (ours, tensors))
        if len(got) != len(wanted) or not all(any(same_shape(x, y) for y in wanted) for x in got):
            raise ValueError(
                f"{directory}: has the {what} {_told(got)}; expected {_told(wanted)}, those of the "
                "bundle's model. It was made from another model."
            )


def _told(shapes: Sequence[tuple[Any, ...]]) -> str:
    return ", ".join(map(str, shapes))


def _opened(manifest: Manifest, path: Path) -> Any:
    """The file in its runtime.

    Raises:
        ValueError: Nothing here runs it.
    """
    target = find_target(manifest.target, manifest.options)
    target.check_packages()
    if target.proof != "numeric":
        raise ValueError(f"{path}: nothing here runs a file of {target.kind}; expected another.")
    with reading.whole(path, f"a file that {target.runtime} runs"):
        return target.open(path)
