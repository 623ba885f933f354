"""Several trained classifiers as one: a bundle whose answer is the mean of their probabilities.

Sources: Hansen & Salamon 1990, IEEE TPAMI 12(10); Huang et al. 2017, Snapshot ensembles,
arXiv:1704.00109: one training with cyclic learning rates gives all members.

    zoo.ensemble(["runs/a", "runs/b"], out="runs/both")
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, layers

from zoo.bundle import MODEL, Bundle, check_finite
from zoo.common import digests
from zoo.common.staging import claimed
from zoo.data.preprocessing import Preprocessing
from zoo.layers.log_mean_probability import LogMeanProbability
from zoo.models.saved import load_model
from zoo.training import cycles
from zoo.training.history import History
from zoo.training.run import Run
from zoo.training.writing import write_bundle

NAME = "ensemble"
PAPER, SNAPSHOTS_PAPER = "Hansen & Salamon, IEEE TPAMI 12(10)", "Huang et al., arXiv:1704.00109"


def ensemble(
    runs: Sequence[str | Path], *, out: str | Path, snapshots: bool = False, force: bool = False
) -> Bundle:
    """Writes a bundle that averages the probabilities of several.

    Its model is one Functional model with a nested model `member1`, `member2` ... for each; its
    `logits` are the logarithm of the mean probability. Where a member's inputs are standardised
    otherwise than the first's, a scale and an offset bring them there. The recipe is the first's.

    Args:
        runs: Bundles of classifiers, trained on the same data with the same classes.
        out: Directory of the new bundle.
        snapshots: Whether to take the models at the ends of the cycles of each run, in place of the
            run's own.
        force: Whether to replace a bundle at `out`.

    Raises:
        ValueError: There are fewer than two members, or they do not go together.
        FileExistsError: There is something at `out`.
        FileNotFoundError: A run is no bundle, or kept no models of cycles.
    """
    began = time.perf_counter()
    out = Path(out)
    with claimed(out, force=force):
        return _ensemble(runs, out, snapshots=snapshots, force=force, began=began)


def _ensemble(
    runs: Sequence[str | Path], out: Path, *, snapshots: bool, force: bool, began: float
) -> Bundle:
    bundles = [Bundle(path) for path in runs]
    if len(bundles) < 2 and not snapshots:
        raise ValueError(
            f"ensemble: got {len(bundles)} run; expected two or more, or --snapshots for one that "
            "was trained with train.optimizer.schedule=cyclic."
        )
    for other in bundles:
        check_finite(other)
        _check_together(bundles[0], other)
    files = [(bundle, path) for bundle in bundles for path in _files(bundle, snapshots=snapshots)]
    if len(files) < 2:
        raise ValueError(f"{runs[0]}: got one model of a cycle; expected two or more.")
    first = bundles[0]
    run = Run(first.recipe, Preprocessing.model_validate(first.card.preprocessing))
    if tuple(run.data.labels) != first.card.labels:
        raise ValueError(
            f"{first.path}: the data set {run.data.name} has the classes {run.data.labels}; "
            f"expected {first.card.labels}, which the model was trained on."
        )
    members = [
        Member(load_model(path), Preprocessing.model_validate(bundle.card.preprocessing))
        for bundle, path in files
    ]
    model, parts = assemble(members, name=out.name)
    origin = {
        "architecture": NAME,
        "paper": SNAPSHOTS_PAPER if snapshots else PAPER,
        "members": [_identity(bundle, path) for bundle, path in files],
        "ensemble": {"member_metrics": [run.evaluate(part, "test").metrics for part in parts]},
    }
    return write_bundle(run, out, model, History(), began=began, force=force, origin=origin)


class Member(NamedTuple):
    """One model of an ensemble, and how pixels become its inputs."""

    model: keras.Model
    preprocessing: Preprocessing


def assemble(members: Sequence[Member], *, name: str) -> tuple[keras.Model, list[keras.Model]]:
    """Joins classifiers into one model.

    Args:
        members: Classifiers with one input of equal shape, and logits (batch, classes).
        name: Name of the model.

    Returns:
        The model, and each member alone, with the inputs of the first: all share their layers.
    """
    first = members[0]
    image = keras.Input(first.model.inputs[0].shape[1:], name="image")
    answers = []
    for number, (model, preprocessing) in enumerate(members, start=1):
        x = _standardised(image, first.preprocessing, preprocessing, name=f"member{number}_scale")
        nested = keras.Model(model.inputs[0], model.outputs[0], name=f"member{number}")
        answers.append(nested(x))  # (batch, classes)
    logits = LogMeanProbability(dtype="float32", name="logits")(answers)
    parts = [keras.Model(image, answer) for answer in answers]
    return keras.Model(image, logits, name=name), parts


def _standardised(
    x: KerasTensor, given: Preprocessing, wanted: Preprocessing, *, name: str
) -> KerasTensor:
    """Turns inputs of one preprocessing into those of another."""
    mean, std = np.asarray(given.mean), np.asarray(given.std)
    scale = wanted.scale / given.scale * std / np.asarray(wanted.std)
    offset = (wanted.scale / given.scale * mean - np.asarray(wanted.mean)) / np.asarray(wanted.std)
    if np.allclose(scale, 1, rtol=0, atol=1e-9) and np.allclose(offset, 0, rtol=0, atol=1e-9):
        return x
    return layers.Rescaling(scale.tolist(), offset.tolist(), name=name)(x)


def _check_together(first: Bundle, other: Bundle) -> None:
    """Refuses members whose answers cannot be averaged.

    Raises:
        ValueError: `other` is no classifier with probabilities, or differs from the first.
    """
    if other.card.task != "classify" or _loss(other) != "cross_entropy":
        raise ValueError(
            f"{other.path}: got task {other.card.task} with the loss {_loss(other)}; "
            "expected classify with cross_entropy, whose logits are probabilities."
        )
    if getattr(other.recipe.task, "probabilities", False):
        raise ValueError(
            f"{other.path}: answers with the shares of a softmax; expected logits, of which the "
            "ensemble takes the softmax. Build the model without its last activation."
        )
    facts = [
        {
            "data set": bundle.card.data,
            "classes": bundle.card.labels,
            "input": bundle.card.input_shape,
            "data.size": bundle.recipe.data.size,
        }
        for bundle in (first, other)
    ]
    for key, expected in facts[0].items():
        if facts[1][key] != expected:
            raise ValueError(
                f"{other.path}: got {key} {facts[1][key]}; expected {expected}, that of "
                f"{first.path}."
            )


def _loss(bundle: Bundle) -> str:
    """Name of the loss of a bundle's task; empty where the task has none by name."""
    loss = getattr(bundle.recipe.task, "loss", None)
    return loss.kind if loss else ""


def _files(bundle: Bundle, *, snapshots: bool) -> list[Path]:
    return cycles.files(bundle.path) if snapshots else [bundle.path / MODEL]


def _identity(bundle: Bundle, path: Path) -> dict[str, Any]:
    name = bundle.path.resolve().name
    digest = digests.sha256(path)
    cycle = "" if path.parent == bundle.path else f"/{path.parent.name}/{path.name}"
    return {"name": name + cycle, "architecture": bundle.card.architecture, "sha256": digest}
