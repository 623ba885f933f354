"""The directory that every stage reads and writes.

A bundle explains itself:

    model.keras     plain Keras layers, float32
    recipe.yaml     resolved: enough to repeat the run
    card.json       what it is (`Card`)
    report.json     what happened (`Report`)
    history.csv     one row for each epoch
    *.png           curves, the confusion matrix of classes, and the trials of a budget's search

It is written to a temporary directory and renamed, so a kill never leaves half a bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from zoo.recipe import Recipe
from zoo.settings import Settings

MODEL, RECIPE, CARD, REPORT = "model.keras", "recipe.yaml", "card.json", "report.json"
HISTORY, CURVES, CONFUSION = "history.csv", "curves.png", "confusion.png"
PACKED = "model.packed"  # of a compression with `huffman`
INTEGERS = "model.tflite"  # of a quantised model
PARETO = "pareto.png"  # of a compression whose budget was searched for


class Card(Settings):
    """What a bundle is.

    Attributes:
        architecture: Name of the catalogue row; `ensemble` of a bundle with `members`.
        task: Kind of learning: `classify`, `binary` (two classes, one output) or `regress`.
        paper: The architecture's source.
        input_shape: Height, width and channels of one input, or (features,) of a table's row.
        labels: Class names in the order of the outputs; no before yes of a single output; none for
            numbers.
        preprocessing: How a raw example becomes an input (`zoo.data.preprocessing.Preprocessing`).
        parameters: Number of trainable weights.
        data: Name of the data set.
        passes: The compression passes it went through, in order.
        parent: sha256 of the `model.keras` that it was made from; `None` when trained from scratch.
        custom_layers: Registered names of the layers that are not Keras' own.
        members: `name`, `architecture` and `sha256` of each model of an ensemble; its recipe is
            that of the first.
    """

    schema_version: Literal[1] = 1
    architecture: str
    task: str
    paper: str
    input_shape: tuple[int, ...]
    labels: tuple[str, ...]
    preprocessing: dict[str, Any]
    parameters: int
    data: str
    licence: str = "Apache-2.0"
    passes: tuple[dict[str, Any], ...] = ()
    parent: str | None = None
    custom_layers: tuple[str, ...] = ()
    members: tuple[dict[str, str], ...] = ()


class Report(Settings):
    """What happened, as measured on the saved model.

    Attributes:
        status: `interrupted` when the run was stopped before its last epoch.
        metrics: What the task measures on the test split. Of classes: `loss`, `top1`, `top5` and
            the calibration error `ece`; of a yes or no: `auc` in place of `top5`; of numbers:
            `loss`, `mse`, `mae` and `r2`.
        validation: The same on the validation split.
        examples: Number of images or rows in each split.
        source: Where the data was read from.
        problems: What was left out of the data, one line each.
        per_class: `label`, `precision`, `recall`, `f1` and `support` of each class; empty for
            numbers.
        confusion: Counts; rows are true classes, columns are predicted ones; empty for numbers.
        epochs: Number of finished epochs.
        seconds: `train` and `total`, wall time; `epoch` is the median epoch.
        images_per_second: Training images divided by training seconds.
        hardware: Processor, device kinds, strategy, precision, jit, and why they were chosen.
        versions: Version of each package that took part.
        seed: Seed of the run.
        commit: Commit of the zoo's source tree; empty outside one.
        compression: What the passes did (`compress.Report`); empty when there were none.
        pipeline: Of a compression, the name of its recipe.
        changes: Of a compression, what was changed of the recipe that it fine-tuned with.
        parent_name: Name of the directory of the bundle that it was made from.
        parent_metrics: The `metrics` of the bundle that it was made from.
        file: Of a quantised model, its integer TFLite file beside `model.keras`: `bytes`,
            `gzip_bytes`, `metrics` on the test split, `same_top1` as the model, and `operators`.
        member_metrics: The same of each model of an ensemble on its own, in the card's order.
        baseline: `settings`, and what was `tried` on the validation split, of `zoo.baselines`.
    """

    schema_version: Literal[1] = 1
    status: Literal["complete", "interrupted"]
    metrics: dict[str, float]
    validation: dict[str, float]
    examples: dict[str, int]
    source: str
    problems: tuple[str, ...] = ()
    per_class: tuple[dict[str, Any], ...]
    confusion: tuple[tuple[int, ...], ...]
    epochs: int
    seconds: dict[str, float]
    images_per_second: float
    hardware: dict[str, Any]
    versions: dict[str, str]
    seed: int
    commit: str = ""
    compression: Mapping[str, Any] = Field(default_factory=dict)
    pipeline: str = ""
    changes: tuple[str, ...] = ()
    parent_name: str = ""
    parent_metrics: Mapping[str, float] = Field(default_factory=dict)
    file: Mapping[str, Any] = Field(default_factory=dict)
    member_metrics: tuple[dict[str, float], ...] = ()
    baseline: Mapping[str, Any] = Field(default_factory=dict)


class Record:
    """A card and a report on disk: of a bundle, or of a baseline, which has no model file.

    Args:
        path: The directory.

    Raises:
        FileNotFoundError: There is no such directory, or a file is missing.
    """

    files: tuple[str, ...] = (CARD, REPORT)

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"{path}: no such directory; expected a bundle, e.g. one that `zoo train` wrote."
            )
        missing = [file for file in self.files if not (self.path / file).is_file()]
        if missing:
            raise FileNotFoundError(f"{path}: not a bundle; {', '.join(missing)} is missing.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @cached_property
    def card(self) -> Card:
        """What the bundle is."""
        return Card.model_validate_json((self.path / CARD).read_text())

    @cached_property
    def report(self) -> Report:
        """What happened."""
        return Report.model_validate_json((self.path / REPORT).read_text())


class Bundle(Record):
    """A bundle on disk.

    Args:
        path: The directory.

    Raises:
        FileNotFoundError: There is no such directory, or a file of the bundle is missing.
    """

    files = (MODEL, RECIPE, CARD, REPORT)

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved settings of the run."""
        return Recipe.read(self.path / RECIPE)

    @cached_property
    def sha256(self) -> str:
        """Digest of `model.keras`."""
        with (self.path / MODEL).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def check_free(path: Path, *, force: bool, mark: str = CARD) -> None:
    """Refuses a path that is taken, and, even with `force`, one that holds something else.

    Args:
        path: A directory to be.
        force: Whether what is there may be replaced.
        mark: A file that every directory of this kind holds; that of a bundle by default.

    Raises:
        FileExistsError: `path` exists and `force` is not set, or it lacks the mark.
    """
    if not path.exists():
        return
    if not force:
        raise FileExistsError(f"{path}: exists; choose another --out, or --force to replace it.")
    if not (path / mark).is_file():
        kind = "a bundle" if mark == CARD else f"ours, as it has no {mark}"
        raise FileExistsError(f"{path}: exists and is not {kind}; choose another --out.")


@contextlib.contextmanager
def staged(path: str | Path, *, force: bool = False, mark: str = CARD) -> Iterator[Path]:
    """Gives a temporary directory that takes the place of `path` when the block ends well.

    Args:
        path: The directory to be.
        force: Whether it may replace what is there.
        mark: See `check_free`.

    Raises:
        FileExistsError: See `check_free`.
    """
    path = Path(path)
    check_free(path, force=force, mark=mark)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as holder:
        stage = Path(holder) / "new"
        stage.mkdir()
        yield stage
        if path.exists():
            path.rename(Path(holder) / "old")
        stage.rename(path)


def remove(path: Path) -> None:
    """Deletes a directory that may be absent."""
    shutil.rmtree(path, ignore_errors=True)
