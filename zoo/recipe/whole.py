"""A whole recipe: the model, the task, and the groups of settings; read from YAML, and written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from zoo import catalog
from zoo.common import packs, plain_yaml
from zoo.common.settings import Settings, SettingsError, nearest, shown
from zoo.datasets import DATASETS, RECORDS, file_path
from zoo.losses import LOSSES
from zoo.recipe.given import Data, Environment, Hardware
from zoo.recipe.learning import Train, refuse


class Recipe(Settings):
    """All settings of one training run.

    Attributes:
        model: Name of an architecture of the catalogue.
        settings: The builder's own settings, e.g. `dropout: 0.3`.
        task: What is learnt: `kind`, a key of `zoo.catalog.TASKS`, and that kind's settings. The
            kind is the architecture's, or what the data ask for, where none is given.
        data: What the model learns from.
        environment: What an agent acts in, in the place of data.
        train: How long, and by which steps.
        hardware: Where it runs.
        seed: Seed of the initial weights, the order of the data, augmentation and dropout.
    """

    model: str
    settings: dict[str, Any] = Field(default_factory=dict)
    task: SerializeAsAny[Settings]
    data: Data = Data()
    environment: Environment | None = None
    train: Train = Train()
    hardware: Hardware = Hardware()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        return catalog.find_architecture(name).name

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Fills in the kind of the task."""
        task, model = values.get("task", {}), values.get("model")
        row = catalog.CATALOG.get(model) if isinstance(model, str) else None
        if row is not None and isinstance(task, Mapping) and "kind" not in task:
            kind = catalog.usual_task(row, _kinds(values.get("data")))
            if kind in catalog.VECTOR and task.get("loss"):
                kind = _kind_of(task["loss"]) or kind
            return {**values, "task": {"kind": kind, **task}}
        return values

    @field_validator("task", mode="before")
    @classmethod
    def _task(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in catalog.TASKS:
            hint = nearest(str(kind), catalog.TASKS)
            raise SettingsError("", [f".kind: got {shown(kind)}; expected a task. {hint}"])
        module, name = catalog.TASKS[kind].split(":")
        return getattr(import_module(module), name)(**value)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        augment = self.data.augment
        problem = (
            ".data.augment: got random changes with lbfgs; expected none: it minimises one fixed "
            "function. Write data.augment={}."
        )
        refuse([problem] if augment.changes and self.train.optimizer.kind == "lbfgs" else [])
        if (augment.mixup or augment.cutmix) and self.task.kind != "classify":  # type: ignore[attr-defined]
            refuse([
                f".data.augment: got mixup or cutmix for the task {self.task.kind}; "  # type: ignore[attr-defined]
                "expected classify, whose labels can be mixed. Write data.augment.mixup=0."
            ])  # fmt: skip
        if getattr(self.task, "adversarial", None) and self.train.transfer.weights is not None:
            refuse([
                f".task.adversarial: got it with the weights {self.train.transfer.weights}, which "
                "read pictures of another range than 0 to 1; expected one of them."
            ])  # fmt: skip
        if self.environment is not None and self.data != Data():
            refuse([".environment: got an environment and data; expected one of them."])
        return self

    def to_yaml(self) -> str:
        """Returns the recipe as YAML that `read` understands."""
        values = self.model_dump(mode="json")
        values.pop("environment" if self.environment is None else "data")
        return plain_yaml.dump(values)

    @classmethod
    def read(cls, path: str | Path, *, upgrade: bool = False) -> Recipe:
        """Reads a resolved recipe.

        Args:
            path: A YAML file.
            upgrade: Whether the file may be of the first version of bundles, which had no tasks.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: A key is unknown or a value is wrong.
        """
        values = load_values(Path(path))
        return cls.parse(upgraded(values) if upgrade else values, where=Path(path).name)


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a recipe of the first version of bundles as those of today.

    The loss, its smoothing and the weight of auxiliary heads were in `train`; they are the task's.
    """
    if "task" in values:
        return dict(values)
    train = dict(values.get("train", {}))
    loss = train.pop("loss", "auto")
    task: dict[str, Any] = {
        key: train.pop(key) for key in ("label_smoothing", "auxiliary_weight") if key in train
    }
    if loss == "auto":  # the cross-entropy for classes, the squared error for numbers
        numbers = "number" in _kinds(values.get("data"))
        task |= {"kind": "regress" if numbers else "classify"}
    else:
        task |= {"kind": _kind_of(loss), "loss": loss}
    return {**values, "task": task, "train": train}


def _kind_of(loss: Any) -> str | None:
    """The kind of the task that a loss belongs to; `None` for an unknown one."""
    kinds = {"class": "classify", "binary": "binary", "number": "regress"}
    row = LOSSES.get(str(loss.get("kind") if isinstance(loss, Mapping) else loss))
    return kinds[row.target] if row else None


def _kinds(data: Any) -> tuple[str, ...]:
    """Kinds of the columns of the data set that a recipe's plain `data` names."""
    name = data.get("name") if isinstance(data, Mapping) else getattr(data, "name", None)
    if isinstance(name, str) and name.startswith(RECORDS):
        with contextlib.suppress(OSError, ValueError):  # who reads the pack says what is wrong
            return tuple(column.kind for column in packs.read(file_path(name)).columns.values())
    row = DATASETS.get(name or Data().name)
    return row.kinds if row else ("image", "class")


def load_values(path: Path) -> dict[str, Any]:
    """Returns the keys and values of a file."""
    values = plain_yaml.read(path, "a recipe in YAML")
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: got {shown(values)}; expected keys and values.")
    return dict(values)
