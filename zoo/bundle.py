"""The directory that every stage reads and writes.

A bundle explains itself:

    model.keras     what is deployed: plain Keras layers, float32
    networks/       `NAME.keras` of each network, where a model has several
    recipe.yaml     resolved: enough to repeat the run
    card.json       what it is (`Card`)
    report.json     what happened (`Report`)
    samples.npz     a few raw examples: it can be exported and tried where its data set is not
    history.csv     one row for each epoch
    *.png           curves, what the task has to show, and the trials of a budget's search

It is written to a temporary directory and renamed, so a kill never leaves half a bundle. Bundles of
the first version, which had no columns, no samples and one network, are read as before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainSerializer, field_validator

from zoo.common import claims, digests, reading
from zoo.common.columns import KINDS, Column
from zoo.common.home import SHIPPED, shipped
from zoo.common.settings import Settings, nearest, shown
from zoo.recipe import Recipe

MODEL, RECIPE, CARD, REPORT = "model.keras", "recipe.yaml", "card.json", "report.json"
NETWORKS, SAMPLES = "networks", "samples.npz"
BEGUN = "compress.json"  # of an unfinished compression: what it began with
HISTORY, CURVES = "history.csv", "curves.png"
PACKED = "model.packed"  # of a compression with `huffman`
INTEGERS = "model.tflite"  # of a quantised model
PARETO = "pareto.png"  # of a compression whose budget was searched for

Columns = Mapping[str, Annotated[Column, PlainSerializer(Column.plain)]]


class Card(Settings):
    """What a bundle is.

    Attributes:
        architecture: Name of the catalogue row; `ensemble` of a bundle with `members`.
        task: Kind of learning, a key of `zoo.catalog.TASKS`.
        paper: The architecture's source.
        columns: What an example of the data set is made of; none in bundles of the first version.
        inputs: What `model.keras` reads, raw: a column for each input.
        outputs: What it answers with, by name of the output.
        preprocessing: How a raw example becomes an input (`zoo.data.preprocessing.Preprocessing`);
            empty where it is one already.
        actions: Of an agent, how its answer becomes an action: the ends `low` and `high` of
            numbers, or the number `start` of the first choice where that is not 0; see
            `zoo.common.answers.acted`.
        parameters: Number of trainable weights, over all networks.
        data: Name of the data set, or of the environment.
        data_digest: See `zoo.data.DataSet.digest`; empty where there is none.
        networks: Names of the networks in `networks/`; none where `model.keras` is all there is.
        passes: The compression passes it went through, in order.
        parent: sha256 of the `model.keras` that it was made from; `None` when trained from scratch.
        custom_layers: Registered names of the layers that are not Keras' own.
        members: `name`, `architecture` and `sha256` of each model of an ensemble; its recipe is
            that of the first.
    """

    schema_version: Literal[2] = 2
    architecture: str
    task: str
    paper: str
    columns: Columns = Field(default_factory=dict)
    inputs: Annotated[Columns, Field(min_length=1)]
    outputs: Columns
    preprocessing: dict[str, Any]
    actions: dict[str, Any] = Field(default_factory=dict)
    parameters: int
    data: str
    data_digest: str = ""
    licence: str = "Apache-2.0"
    networks: tuple[str, ...] = ()
    passes: tuple[dict[str, Any], ...] = ()
    parent: str | None = None
    custom_layers: tuple[str, ...] = ()
    members: tuple[dict[str, str], ...] = ()

    @field_validator("columns", "inputs", "outputs")
    @classmethod
    def _of_known_kinds(cls, columns: Columns) -> Columns:
        for name, column in columns.items():
            if column.kind not in KINDS:
                hint = nearest(column.kind, KINDS)
                raise ValueError(f"columns of known kinds; {name} is {shown(column.kind)}. {hint}")
        return columns

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the first input, e.g. height, width and channels."""
        return next(iter(self.inputs.values())).shape

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes or of the vocabulary of the answer; none where it has none."""
        return next((column.names for column in self.outputs.values() if column.names), ())


# A measure may be no number, e.g. of a class that no example has.
_NUMBERS = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="constants")


def check_finite(bundle: Bundle) -> None:
    """Refuses a bundle whose model answers with no numbers, before any work with it.

    Raises:
        ValueError: Its loss or its headline, as its report has them, is not finite.
    """
    task: Any = bundle.recipe.task
    found = bundle.report.metrics
    wrong = {
        name: found[name]
        for name in ("loss", task.headline.name)
        if not math.isfinite(found.get(name, 0))
    }
    if wrong:
        told = ", ".join(f"{name} {value}" for name, value in wrong.items())
        raise ValueError(
            f"{bundle.path}: got a model with {told} on the test split; expected finite ones. "
            "Train it anew, e.g. with a smaller train.optimizer.learning_rate."
        )


class Compression(Settings):
    """The part of a report on `zoo compress`.

    Attributes:
        passes: What the passes did (`compress.Report`).
        recipe: Name of the recipe.
        changes: What was changed of the recipe that it fine-tuned with.
        parent_name: Name of the directory of the bundle that it was made from.
        parent_metrics: The `metrics` of the bundle that it was made from.
        file: For a quantised model, its integer TFLite file beside `model.keras`: `bytes`,
            `gzip_bytes`, `metrics` on the test split, `same_top1` as the model, `operators`,
            and `distance` from the parent (`export.manifest.Distance`).
        compared: For a classifier of pictures, how alike it and the parent answer, and look, see
            `zoo.stages.understand.compare.beside_parent`.
    """

    model_config = _NUMBERS

    passes: Mapping[str, Any]
    recipe: str
    changes: tuple[str, ...] = ()
    parent_name: str = ""
    parent_metrics: Mapping[str, float] = Field(default_factory=dict)
    file: Mapping[str, Any] = Field(default_factory=dict)
    compared: Mapping[str, Any] = Field(default_factory=dict)


class Ensemble(Settings):
    """The part of a report on `zoo ensemble`: the metrics of each model on its own."""

    model_config = _NUMBERS

    member_metrics: tuple[dict[str, float], ...] = ()


class Baseline(Settings):
    """The part of a report on `zoo baseline`: settings, and what was tried to choose them."""

    settings: Mapping[str, Any]
    tried: tuple[Mapping[str, Any], ...] = ()


class Report(Settings):
    """What happened, as measured on the saved model.

    Attributes:
        status: `interrupted` when the run was stopped before its last epoch.
        metrics: What the task measures on the test split, e.g. of classes `loss`, `top1`, `top5`
            and the calibration error `ece`.
        validation: The same on the validation split.
        tables: What else the task measures on the test split, by name: rows.
        examples: Number of examples in each split.
        source: Where the data was read from.
        problems: What was left out of the data, or is doubtful, one line each.
        epochs: Number of finished epochs.
        seconds: `train` and `total`, wall time; `epoch` is the median epoch.
        examples_per_second: Training examples divided by training seconds.
        hardware: Processor, device kinds, strategy, precision, jit, and why they were chosen.
        versions: Version of each package that took part.
        seed: Seed of the run.
        commit: Commit of the zoo's source tree; empty outside one.
        compress: What `zoo compress` adds.
        ensemble: What `zoo ensemble` adds.
        baseline: What `zoo baseline` adds.
    """

    model_config = _NUMBERS

    schema_version: Literal[2] = 2
    status: Literal["complete", "interrupted"]
    metrics: dict[str, float]
    validation: dict[str, float]
    tables: dict[str, Any] = Field(default_factory=dict)
    examples: dict[str, int]
    source: str
    problems: tuple[str, ...] = ()
    epochs: int
    seconds: dict[str, float]
    examples_per_second: float
    hardware: dict[str, Any]
    versions: dict[str, str]
    seed: int
    commit: str = ""
    compress: Compression | None = None
    ensemble: Ensemble | None = None
    baseline: Baseline | None = None


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
        if self.path.is_file():
            raise FileNotFoundError(
                f"{path}: is a file; expected a bundle, a directory that e.g. `zoo train` wrote."
            )
        if not self.path.is_dir() and not claims.recover(self.path):
            raise FileNotFoundError(
                f"{path}: no such directory; expected a bundle, e.g. one that `zoo train` wrote."
            )
        # It may be replaced at this moment: then it is whole when it is back.
        if self._missing() and claims.recover(self.path) and (missing := self._missing()):
            raise FileNotFoundError(f"{path}: not a bundle; {', '.join(missing)} is missing.")

    def _missing(self) -> list[str]:
        return [file for file in self.files if not self._holds(file)]

    def _holds(self, file: str) -> bool:
        return (self.path / file).is_file()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @cached_property
    def card(self) -> Card:
        """What the bundle is."""
        path = self.path / CARD
        values = reading.json_object(path, "the card of a bundle")
        with reading.whole(path, "the card of a bundle"):
            values = _upgraded_card(values)
        return Card.parse(values, where=str(path))

    @cached_property
    def report(self) -> Report:
        """What happened."""
        path = self.path / REPORT
        values = reading.json_object(path, "the report of a bundle")
        with reading.whole(path, "the report of a bundle"):
            values = _upgraded_report(values)
        return Report.parse(values, where=str(path))


class Bundle(Record):
    """A bundle on disk.

    Args:
        path: The directory.

    Raises:
        FileNotFoundError: There is no such directory, or a file of the bundle is missing.
    """

    files = (MODEL, RECIPE, CARD, REPORT)

    def _holds(self, file: str) -> bool:
        return super()._holds(self.model_file.name if file == MODEL else file)

    @property
    def model_file(self) -> Path:
        """`model.keras`, or `model.packed` of a bundle that is shipped."""
        packed = self.path / PACKED
        return (
            packed if packed.is_file() and not (self.path / MODEL).is_file() else self.path / MODEL
        )

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved settings of the run."""
        return Recipe.read(self.path / RECIPE, upgrade=True)

    @cached_property
    def sha256(self) -> str:
        """Digest of the model's file."""
        return digests.sha256(self.model_file)


def is_model_file(path: Any) -> bool:
    """Returns whether a path is that of a model's file by its name, and not of a bundle."""
    if not isinstance(path, (str, Path)) or Path(path).is_dir():
        return False
    return Path(path).suffix in (".keras", ".h5", ".hdf5")


def check_model_file(path: str | Path) -> None:
    """Refuses a model's file that is not there.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .keras or .h5 file of a model.")


def name_of(path: Path, network: str | None = None) -> str:
    """Returns the name of what is made of a bundle or a model's file, or of one of its networks."""
    name = path.stem if is_model_file(path) else path.resolve().name
    return f"{name}-{network}" if network else name


def check_network(path: Path, network: str | None) -> None:
    """Refuses the name of a network that a model has not; nothing is loaded.

    Args:
        path: A bundle's directory, or a model's file.
        network: A name; `None` is what is deployed.

    Raises:
        ValueError: There is no such network.
    """
    if network is None:
        return
    if is_model_file(path):
        raise ValueError(f"{path}: got --network {network}; expected a bundle, not a model's file.")
    files = Bundle(path).path / NETWORKS
    known = [name for name in Bundle(path).card.networks if (files / f"{name}.keras").is_file()]
    if network not in known:
        told = f"one of {', '.join(known)}" if known else "none, since it has one network only"
        raise ValueError(f"{path}: got --network {network}; expected {told}.")


def find_bundle(name: str | Path | Bundle) -> Bundle:
    """Returns a bundle by its directory, or a shipped one by the name of its architecture.

    Args:
        name: A directory; else `ARCHITECTURE` or `ARCHITECTURE-DATA` of a shipped bundle.

    Raises:
        FileNotFoundError: There is neither.
    """
    if isinstance(name, Bundle):
        return name
    if not Path(name).exists():
        names = [path.name for path in shipped()]
        for known in names:
            if str(name) in (known, known.partition("-")[0]):
                return Bundle(SHIPPED / known)
        if "/" not in str(name) and names:
            hint = nearest(str(name), [known.partition("-")[0] for known in names])
            raise FileNotFoundError(
                f"{name}: no such directory, and no trained model of that name comes with the zoo. "
                f"{hint}"
            )
    return Bundle(name)


def _upgraded_card(values: dict[str, Any]) -> dict[str, Any]:
    """A card of the first version as one of today."""
    if values.get("schema_version") != 1 or "input_shape" not in values:
        return values
    values = {**values, "schema_version": 2}
    shape, labels = values.pop("input_shape"), values.pop("labels", ())
    name = "image" if len(shape) == 3 else "features"
    # Its one input was called `image`, whatever it read.
    values["inputs"] = {"image": {"kind": name, "shape": shape}}
    kind = "class" if labels else "number"
    values["outputs"] = {"logits": {"kind": kind, "shape": (), "names": labels}}
    return values


def _upgraded_report(values: dict[str, Any]) -> dict[str, Any]:
    """A report of the first version as one of today."""
    if values.get("schema_version") != 1:
        return values
    values = {**values, "schema_version": 2}
    values["examples_per_second"] = values.pop("images_per_second", 0.0)
    tables = {name: values.pop(name, ()) for name in ("per_class", "confusion")}
    values["tables"] = {name: table for name, table in tables.items() if table}
    names = ("changes", "parent_name", "parent_metrics", "file")
    part = {name: values.pop(name) for name in names if name in values}
    passes, recipe = values.pop("compression", {}), values.pop("pipeline", "")
    if passes:
        values["compress"] = {"passes": passes, "recipe": recipe, **part}
    if members := values.pop("member_metrics", ()):
        values["ensemble"] = {"member_metrics": members}
    if not values.get("baseline"):
        values.pop("baseline", None)
    return values
