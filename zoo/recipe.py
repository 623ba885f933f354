"""The settings of one training run. YAML is their spelling; `zoo/recipes` has one file a family.

A recipe is resolved in three layers: the family's file, the command line's `--data`, then each
`--set key=value`. The resolved recipe goes into the bundle and is enough to repeat the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from zoo import catalog, losses
from zoo.settings import Settings, SettingsError

RECIPES = Path(__file__).parent / "recipes"

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


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
        name: A data set of `zoo.data.DATASETS`, or `folder:PATH`.
        size: Side of the square images, in pixels; `None` keeps the data set's own.
        channels: 1 for grey, 3 for RGB; `None` keeps the data set's own.
        limit: Number of training images to keep; `None` keeps all.
        augment: Random changes of the training images.
    """

    name: str = "mnist5k"
    size: Count | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None
    augment: Augment = Augment()


class Optimizer(Settings):
    """How a gradient becomes a step.

    Attributes:
        kind: `adamw` (Loshchilov & Hutter, arXiv:1711.05101), `adam`, `sgd`, `adagrad`, `rmsprop`,
            or `lbfgs`, which reads all images in every step.
        learning_rate: The largest rate, reached after the warm-up; `lbfgs` has none.
        momentum: Momentum of `sgd` and `rmsprop`; the others ignore it.
        nesterov: Whether `sgd` looks ahead along its momentum.
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


class Train(Settings):
    """How long, and towards what.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images in a step, over all devices together.
        loss: A name of `zoo.losses.LOSSES`; `auto` takes the cross-entropy for classes and the
            squared error for numbers.
        label_smoothing: Share of the target spread evenly over all classes.
        auxiliary_weight: Share of each auxiliary head in the loss, where a model has some.
        optimizer: How a gradient becomes a step.
        regularize: What keeps the kernels small.
        transfer: Trained weights to start from.
    """

    epochs: Count = 10
    batch_size: Count = 128
    loss: str = "auto"
    label_smoothing: Fraction = 0.0
    auxiliary_weight: Fraction = 0.3
    optimizer: Optimizer = Optimizer()
    regularize: Regularize = Regularize()
    transfer: Transfer = Transfer()

    @field_validator("loss")
    @classmethod
    def _known(cls, name: str) -> str:
        return name if name == "auto" else losses.find_trainable(name).name

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        problems = []
        transfer, optimizer = self.transfer, self.optimizer
        if transfer.weights is None and (transfer.frozen_epochs or transfer.unfreeze < 1):
            problems.append(
                ".transfer: got frozen layers without weights; expected train.transfer.weights too."
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
                "transfer": Transfer(),
            }
        )


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
    devices: Count | None = None
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    jit: bool | Literal["auto"] = "auto"


class Recipe(Settings):
    """All settings of one training run.

    Attributes:
        model: Name of an architecture of the catalogue.
        settings: The builder's own settings, e.g. `dropout: 0.3`.
        data: What the model learns from.
        train: How long, and towards what.
        hardware: Where it runs.
        seed: Seed of the initial weights, the order of the data, augmentation and dropout.
    """

    model: str
    settings: dict[str, Any] = Field(default_factory=dict)
    data: Data = Data()
    train: Train = Train()
    hardware: Hardware = Hardware()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        return catalog.find(name).name

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        augment = self.data.augment
        moves = augment.shift or augment.rotate or augment.mirror is True
        problem = (
            ".data.augment: got random changes with lbfgs; expected none: it minimises one fixed "
            "function. Write data.augment={}."
        )
        _refuse([problem] if moves and self.train.optimizer.kind == "lbfgs" else [])
        return self

    def to_yaml(self) -> str:
        """Returns the recipe as YAML that `read` understands."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Reads a resolved recipe.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: A key is unknown or a value is wrong.
        """
        return cls.parse(_load(Path(path)), where=Path(path).name)


def resolve(
    model: str, *, data: str | None = None, changes: Iterable[str] = (), smoke: bool = False
) -> Recipe:
    """Returns the recipe for an architecture, changed as asked.

    Args:
        model: Name of an architecture of the catalogue.
        data: Name of a data set in place of the recipe's.
        changes: `key=value` with dots between the keys, e.g. `train.epochs=5`; the value is YAML.
        smoke: Whether to apply the file's `smoke` block: a run of seconds that shows that the
            parts fit together.

    Raises:
        ValueError: A name or key is unknown, or a value is wrong.
    """
    architecture = catalog.find(model)
    values = _load(RECIPES / f"{architecture.recipe}.yaml")
    values["model"] = architecture.name
    shorter = values.pop("smoke", {})
    if smoke:
        values = _merge(values, shorter)
    if data is not None:
        values.setdefault("data", {})["name"] = data
    for change in changes:
        _change(values, change)
    return Recipe.parse(values, where="recipe")


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


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; expected a recipe in YAML.")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: got {values!r}; expected keys and values.")
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
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"--set {change}: the value is not YAML.") from None
    # YAML 1.1 reads 1e-4 as text, for want of a dot.
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    group[last] = value
