"""The settings of one training run. YAML is their spelling; `zoo/recipes` has one file a family.

A recipe is resolved in three layers: the family's file, the command line's `--data`, then each
`--set key=value`. The resolved recipe goes into the bundle and is enough to repeat the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from zoo import catalog
from zoo.common import plain_yaml
from zoo.common.settings import Settings, SettingsError, nearest, shown
from zoo.datasets import DATASETS
from zoo.losses import LOSSES

RECIPES = Path(__file__).parent / "recipes"

FURTHER = ("data", "train", "hardware", "seed")  # what training a trained model on looks at
# but has of its own, see `Train.further`
NOT_FURTHER = (
    "train.epochs",
    "train.phases",
    "train.keep",
    "train.transfer",
    "train.optimizer.ema",
)

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]


def _refuse(problems: list[str]) -> None:
    """Refuses a group of settings that do not go together, one line for each problem."""
    if problems:
        raise SettingsError("", problems)


class Augment(Settings):
    """Random changes of the training images.

    Attributes:
        shift: Largest shift along each axis, in pixels.
        rotate: Largest rotation to either side, in degrees.
        mirror: Flips left and right with probability 1/2; `auto` does so where a mirrored image
            keeps its class (clothes do, digits do not), and the optimizer is not `lbfgs`.
    """

    shift: Annotated[int, Field(ge=0)] = 0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    mirror: bool | Literal["auto"] = "auto"


class Data(Settings):
    """What the model learns from.

    Attributes:
        name: A data set of `zoo.data.DATASETS`, `folder:PATH` or `text:PATH`.
        size: Side of the square images, in pixels, or predictions in a window of a text; `None`
            keeps the data set's own.
        channels: 1 for grey, 3 for RGB; `None` keeps the data set's own.
        limit: Number of training images to keep; `None` keeps all.
        stream: Whether the pictures of a folder stay on the disk and are read for every batch;
            `auto` does so from 1 GiB of pixels on.
        augment: Random changes of the training images.
    """

    name: str = "mnist5k"
    size: Count | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None
    stream: bool | Literal["auto"] = "auto"
    augment: Augment = Augment()


class Optimizer(Settings):
    """How a gradient becomes a step.

    Attributes:
        kind: `adamw` (Loshchilov & Hutter, arXiv:1711.05101), `adam`, `sgd`, `adagrad`, `rmsprop`,
            or `lbfgs`, which reads all images in every step.
        learning_rate: The largest rate, reached after the warm-up; `lbfgs` has none.
        momentum: Momentum of `sgd` and `rmsprop`; the others ignore it.
        nesterov: Whether `sgd` looks ahead along its momentum.
        beta_1: Share of the old mean gradient that `adam` and `adamw` keep in a step; the others
            ignore it.
        weight_decay: Decay of the weights, decoupled from the gradient; biases and normalisation
            are exempt.
        warmup: Fraction of all steps during which the rate rises linearly from 0.
        schedule: `cosine` falls to 0 at the last step; `constant` stays; `step` is multiplied by
            `factor` at each of `milestones`; `plateau` by `factor` when the validation loss has not
            fallen for `patience` epochs; `divide` starts anew with the rate times `factor`
            until the first epoch no longer diverges; `cyclic` is `cycles` cosines, one after
            another (Huang et al., arXiv:1704.00109).
        milestones: Fractions of all steps, for `step`.
        factor: What the rate is multiplied by, for `step`, `plateau` and `divide`.
        patience: Epochs without a lower validation loss, for `plateau`.
        cycles: Number of cosines, for `cyclic`.
        clip_value: Largest magnitude of any element of the gradient; `None` does not clip.
        clip_norm: Largest norm of the gradient of each weight; `None` does not clip.
        clip_global_norm: Largest norm of the whole gradient; `None` does not clip. All three clip
            after the reduction over devices; at most one may be set.
        ema: Momentum of a moving average of the weights, which then is what is validated and saved;
            `None` keeps none.
    """

    kind: Literal["adamw", "adam", "sgd", "adagrad", "rmsprop", "lbfgs"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Fraction = 0.9
    nesterov: bool = False
    beta_1: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Fraction = 0.0
    schedule: Literal["cosine", "constant", "step", "plateau", "divide", "cyclic"] = "cosine"
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 5
    cycles: Count = 5
    clip_value: Annotated[float, Field(gt=0)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    clip_global_norm: Annotated[float, Field(gt=0)] | None = None
    ema: Fraction | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        clips = [
            name for name in ("clip_value", "clip_norm", "clip_global_norm") if self._has(name)
        ]
        problems = [f".{name}: got a number beside {clips[0]}; expected one." for name in clips[1:]]
        if self.nesterov and (self.kind != "sgd" or not self.momentum):
            problems.append(
                f".nesterov: got true with {self.kind} and momentum {self.momentum:g}; expected "
                "sgd with a momentum."
            )
        if self.schedule == "cyclic" and self.warmup * self.cycles >= 1:
            problems.append(
                f".warmup: got {self.warmup:g} with {self.cycles} cycles; expected less than "
                f"{1 / self.cycles:g}, which is one cycle."
            )
        if self.kind == "lbfgs":
            problems += [
                f".{name}: got {getattr(self, name):g} with lbfgs; expected none. To keep the "
                "weights small, write train.regularize.l2."
                for name in ("weight_decay", "ema", *clips)
                if self._has(name)
            ]
        _refuse(problems)
        return self

    def _has(self, name: str) -> bool:
        return getattr(self, name) not in (None, 0)


class Regularize(Settings):
    """What keeps the kernels small; biases and normalisation are exempt.

    Attributes:
        l1: Weight of the sum of magnitudes in the loss.
        l2: Weight of the sum of squares in the loss; with `l1`, the elastic net.
        max_norm: Largest norm of the weights into one unit; `None` does not bound it.
    """

    l1: Annotated[float, Field(ge=0)] = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0
    max_norm: Annotated[float, Field(gt=0)] | None = None


class Transfer(Settings):
    """Starts from trained weights, with a fresh head.

    Attributes:
        weights: Name of trained weights, see `zoo weights list`; `None` starts from scratch.
        frozen_epochs: First epochs, in which the head alone learns, at `head_learning_rate`.
        head_learning_rate: Rate of the frozen epochs.
        unfreeze: Share of the layers with weights, from the head down, that learn afterwards.
    """

    weights: Literal["imagenet"] | None = None
    frozen_epochs: Annotated[int, Field(ge=0)] = 0
    head_learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    unfreeze: Annotated[float, Field(gt=0, le=1)] = 1.0


class Phase(Settings):
    """A part of a training, with optimizers of its own.

    Attributes:
        epochs: Passes over the training examples.
        objectives: Names of the task's objectives that take turns; none is all of them.
        unfreeze: Share of the layers with weights, from the head down, that learn.
        optimizer: Changes of the optimizers' settings.
    """

    epochs: Count
    objectives: tuple[str, ...] = ()
    unfreeze: Annotated[float, Field(gt=0, le=1)] = 1.0
    optimizer: Mapping[str, Any] = Field(default_factory=dict)


class Train(Settings):
    """How long, and by which steps.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Examples in a step, over all devices together.
        optimizer: How a gradient becomes a step.
        optimizers: Changes of `optimizer` for single objectives of the task, by their names, e.g.
            `{critic: {learning_rate: 4.0e-4}}`.
        phases: Parts of the training, one after another; none is one part.
        keep: Which weights the bundle holds: the `last`, or those of the epoch with the `best`
            headline on the validation split.
        regularize: What keeps the kernels small.
        transfer: Trained weights to start from.
    """

    moved: ClassVar[Mapping[str, str]] = {
        "loss": "task.loss",
        "label_smoothing": "task.label_smoothing",
        "auxiliary_weight": "task.auxiliary_weight",
    }

    epochs: Count = 10
    batch_size: Count = 128
    optimizer: Optimizer = Optimizer()
    optimizers: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    keep: Literal["last", "best"] = "last"
    regularize: Regularize = Regularize()
    transfer: Transfer = Transfer()

    def optimizer_of(self, objective: str) -> Optimizer:
        """Returns the settings of the optimizer of one objective."""
        changes = self.optimizers.get(objective, {})
        if not changes:
            return self.optimizer
        return Optimizer(**{**self.optimizer.model_dump(), **changes})

    def _changed(self) -> list[str]:
        """What is wrong with the optimizers as they are changed, one line each."""
        problems = []
        places: list[tuple[str, str, Mapping[str, Any]]] = [
            (f".optimizers.{name}", name, {}) for name in self.optimizers
        ]
        for number, phase in enumerate(self.phases):
            names = ("", *self.optimizers)  # the common one too
            places += [(f".phases.{number}.optimizer", name, phase.optimizer) for name in names]
        for place, name, changes in places:
            values = {**self.optimizer.model_dump(), **self.optimizers.get(name, {}), **changes}
            try:
                Optimizer(**values)
            except SettingsError as error:
                problems += [f"{place}{problem}" for problem in error.problems]
        return list(dict.fromkeys(problems))

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        problems = self._changed()
        transfer, optimizer = self.transfer, self.optimizer
        if transfer.weights is None and (transfer.frozen_epochs or transfer.unfreeze < 1):
            problems.append(
                ".transfer: got frozen layers without weights; expected train.transfer.weights too."
            )
        if self.phases and sum(phase.epochs for phase in self.phases) != self.epochs:
            problems.append(
                f".epochs: got {self.epochs}; expected "
                f"{sum(phase.epochs for phase in self.phases)}, the sum of train.phases."
            )
        if self.phases and (transfer.frozen_epochs or optimizer.kind == "lbfgs"):
            problems.append(
                ".phases: got phases with frozen epochs or lbfgs, which have their own; expected "
                "one of them."
            )
        if transfer.frozen_epochs >= self.epochs:
            problems.append(
                f".transfer.frozen_epochs: got {transfer.frozen_epochs}; expected less than "
                f"train.epochs, {self.epochs}."
            )
        elif optimizer.schedule == "cyclic":
            left = self.epochs - transfer.frozen_epochs
            if left % optimizer.cycles:
                problems.append(
                    f".optimizer.cycles: got {optimizer.cycles} in {left} epochs; expected a "
                    "number that divides them: a cycle ends with an epoch."
                )
        if optimizer.kind == "lbfgs":
            for name, why in (
                ("regularize.l1", "it needs a gradient everywhere"),
                ("regularize.max_norm", "it knows no such bound"),
                ("transfer.frozen_epochs", "it has one phase; train.transfer.unfreeze may be low"),
            ):
                group, key = name.split(".")
                if value := getattr(getattr(self, group), key):
                    problems.append(f".{name}: got {value:g} with lbfgs; expected none: {why}.")
        _refuse(problems)
        return self

    def further(self, epochs: int, *, rate: float = 1.0) -> Train:
        """Returns the settings for training a trained model on, for some epochs.

        `rate` is the share of the learning rate to train with.

        Nothing is frozen, no rate is searched, there is one cycle and no moving average, and AdamW
        stands in for `lbfgs`, which takes no single steps.
        """
        optimizer = self.optimizer
        plain: dict[str, Any] = {"cyclic": "cosine", "divide": "constant", "lbfgs": "adamw"}
        old = {"kind": optimizer.kind, "schedule": optimizer.schedule}
        changes: dict[str, Any] = {key: plain.get(value, value) for key, value in old.items()}
        changes |= {"ema": None, "learning_rate": rate * optimizer.learning_rate}
        return self.model_copy(
            update={
                "epochs": epochs,
                "optimizer": optimizer.model_copy(update=changes),
                "optimizers": {
                    name: {key: value for key, value in values.items() if key != "learning_rate"}
                    | (
                        {"learning_rate": rate * values["learning_rate"]}
                        if "learning_rate" in values
                        else {}
                    )
                    for name, values in self.optimizers.items()
                },
                "phases": (),
                "keep": "last",
                "transfer": Transfer(),
            }
        )


class Environment(Settings):
    """What an agent acts in, and learns from.

    Attributes:
        name: An environment of gymnasium, e.g. `CartPole-v1`.
        copies: Number of copies that are acted in side by side.
        frames: Steps of the environment in an epoch, over all copies.
        episodes: Episodes that are played to validate and to test.
    """

    name: str = "CartPole-v1"
    copies: Count = 16
    frames: Count = 4096
    episodes: Count = 100


class Hardware(Settings):
    """Where it runs. `auto` looks at the machine, says in one line what it chose, and why.

    Attributes:
        strategy: `one` device, or `mirrored` over several; `auto` mirrors over all GPUs when there
            are two or more.
        devices: Number of devices to mirror over; `None` takes all GPUs. Without a GPU, the CPU is
            split into this many logical devices.
        precision: Arithmetic of the training; the saved model is float32.
        jit: Whether XLA compiles the step; on a CPU it makes convolutions slower.
    """

    strategy: Literal["auto", "one", "mirrored"] = "auto"
    devices: Annotated[int, Field(ge=1, le=256)] | None = None
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    jit: bool | Literal["auto"] = "auto"


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
        moves = augment.shift or augment.rotate or augment.mirror is True
        problem = (
            ".data.augment: got random changes with lbfgs; expected none: it minimises one fixed "
            "function. Write data.augment={}."
        )
        _refuse([problem] if moves and self.train.optimizer.kind == "lbfgs" else [])
        if self.environment is not None and self.data != Data():
            _refuse([".environment: got an environment and data; expected one of them."])
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
        values = _load(Path(path))
        return cls.parse(upgraded(values) if upgrade else values, where=Path(path).name)


def resolve(
    model: str, *, data: str | None = None, changes: Iterable[str] = (), smoke: bool = False
) -> Recipe:
    """Returns the recipe for an architecture, or of a file, changed as asked.

    Where the family's images are smaller than the architecture works with, they are as small as it
    works with.

    Args:
        model: Name of an architecture of the catalogue; or the path of a recipe of one's own, which
            ends in `.yaml` and names its `model`, e.g. the `recipe.yaml` of a bundle.
        data: Name of a data set in place of the recipe's.
        changes: `key=value` with dots between the keys, e.g. `train.epochs=5`; the value is YAML.
        smoke: Whether to apply the file's `smoke` block: a run of seconds that shows that the
            parts fit together.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A name or key is unknown, or a value is wrong.
    """
    own = is_file(model)
    values = _of_file(model) if own else _of_family(model)
    groups = {name: values.get(name, {}) for name in ("data", "smoke")}
    for name, group in groups.items():
        if not isinstance(group, dict):
            raise ValueError(f"{model}: {name}: got {shown(group)}; expected keys and values.")
    values.pop("smoke", None)
    if smoke:
        values = _merge(values, groups["smoke"])
    if not own:
        size, smallest = groups["data"].get("size"), catalog.find_architecture(model).smallest
        if size is not None and size < smallest:  # of a smaller network of the family
            values["data"] = {**values["data"], "size": smallest}
    if data is not None:
        values["data"] = {**values.get("data", {}), "name": data}
    for change in changes:
        _change(values, change)
    return Recipe.parse(values, where=model if own else "recipe")


def is_file(model: str) -> bool:
    """Returns whether a model is named by a recipe of one's own: by its path."""
    return Path(model).suffix in (".yaml", ".yml")


def _of_file(path: str) -> dict[str, Any]:
    """The values of a recipe of one's own."""
    values = _load(Path(path))
    if not isinstance(values.get("model"), str):
        raise ValueError(
            f"{path}: model: got {shown(values.get('model'))}; expected the name of an "
            "architecture, see `zoo list`."
        )
    return {**values, "model": catalog.find_architecture(values["model"]).name}


def _of_family(model: str) -> dict[str, Any]:
    """The values of the recipe of an architecture's family."""
    architecture = catalog.find_architecture(model)
    if not architecture.recipe:
        raise ValueError(
            f"{model}: stands for a model that was brought as a file; expected an architecture, "
            "see `zoo list`."
        )
    return {**_load(RECIPES / f"{architecture.recipe}.yaml"), "model": architecture.name}


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
    row = DATASETS.get(name or Data().name)
    return row.kinds if row else ("image", "class")


def changed(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """Returns a resolved recipe with some settings changed.

    Args:
        recipe: Stays as it is.
        changes: As in `resolve`.

    Raises:
        ValueError: A key is unknown, or a value is wrong.
    """
    values = recipe.model_dump(mode="json")
    for change in changes:
        _change(values, change)
    return Recipe.parse(values, where="recipe")


def changed_further(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """As `changed`, for training a trained model on; see `Train.further`.

    Raises:
        ValueError: As `changed`; or a change does not apply to that.
    """
    changes = tuple(changes)
    groups = FURTHER if recipe.environment is None else (*FURTHER, "environment")
    for change in changes:
        key = change.partition("=")[0].strip()
        if key.partition(".")[0] not in groups:
            raise ValueError(
                f"--set {shown(change)}: does not apply to a trained model; expected a change of "
                f"{', '.join(groups)}."
            )
        if any(f"{own}.".startswith(f"{key}.") or key.startswith(f"{own}.") for own in NOT_FURTHER):
            raise ValueError(
                f"--set {shown(change)}: does not apply to a trained model, which is trained on as "
                "its passes say; expected e.g. train.batch_size or "
                "train.optimizer.learning_rate, one setting at a time."
            )
    return changed(recipe, changes)


def _load(path: Path) -> dict[str, Any]:
    values = plain_yaml.read(path, "a recipe in YAML")
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: got {shown(values)}; expected keys and values.")
    return dict(values)


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lays the changes over the values, group by group."""
    merged = dict(values)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _change(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ValueError(f"--set: got {change!r}; expected key=value, e.g. train.epochs=5.")
    *groups, last = key.split(".")
    group = values
    for name in groups:
        group = group.setdefault(name, {})
        if not isinstance(group, dict):
            raise ValueError(f"--set {change}: {name!r} is a value, not a group of settings.")
    group[last] = plain_yaml.parse(text, f"--set {shown(change)}")
