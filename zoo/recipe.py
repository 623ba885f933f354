"""The settings of one training run. YAML is their spelling; `zoo/recipes` has one file a family.

A recipe is resolved in three layers: the family's file, the command line's `--data`, then each
`--set key=value`. The resolved recipe goes into the bundle and is enough to repeat the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator

from zoo import catalog
from zoo.settings import Settings

RECIPES = Path(__file__).parent / "recipes"

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Augment(Settings):
    """Random changes of the training images.

    Attributes:
        shift: Largest shift along each axis, in pixels. rotate: Largest rotation to either side, in
        degrees. mirror: Flips left and right with probability 1/2; `auto` does so where a mirrored
        image keeps
            its class (clothes do, digits do not).
    """

    shift: Annotated[int, Field(ge=0)] = 0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    mirror: bool | Literal["auto"] = "auto"


class Data(Settings):
    """What the model learns from.

    Attributes:
        name: A data set of `zoo.data.DATASETS`, or `folder:PATH`.
        size: Side of the square images, in pixels; `None` keeps the data set's own.
        limit: Number of training images to keep; `None` keeps all.
        augment: Random changes of the training images.
    """

    name: str = "mnist5k"
    size: Count | None = None
    limit: Count | None = None
    augment: Augment = Augment()


class Optimizer(Settings):
    """How a gradient becomes a step.

    Attributes:
        kind: `adamw` (Loshchilov & Hutter, arXiv:1711.05101), `adam`, or `sgd`. learning_rate: The
        largest rate, reached after the warm-up. momentum: Momentum of `sgd`; the others ignore it.
        weight_decay: Decay of the weights, decoupled from the gradient; biases and normalisation
        are
            exempt.
        warmup: Fraction of all steps during which the rate rises linearly from 0.
        schedule: `cosine` falls to 0 at the last step; `constant` stays.
        clip_norm: Largest norm of the whole gradient, after its reduction over devices; `None` does
            not clip.
    """

    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Fraction = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] | None = None


class Train(Settings):
    """How long, and towards what.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images in a step, over all devices together.
        label_smoothing: Share of the target spread evenly over all classes.
        optimizer: How a gradient becomes a step.
    """

    epochs: Count = 10
    batch_size: Count = 128
    label_smoothing: Fraction = 0.0
    optimizer: Optimizer = Optimizer()


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
        data: What the model learns from.
        train: How long, and towards what.
        hardware: Where it runs.
        seed: Seed of the initial weights, the order of the data, augmentation and dropout.
    """

    model: str
    data: Data = Data()
    train: Train = Train()
    hardware: Hardware = Hardware()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        return catalog.find(name).name

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


def resolve(model: str, *, data: str | None = None, changes: Iterable[str] = ()) -> Recipe:
    """Returns the recipe for an architecture, changed as asked.

    Args:
        model: Name of an architecture of the catalogue.
        data: Name of a data set in place of the recipe's.
        changes: `key=value` with dots between the keys, e.g. `train.epochs=5`; the value is YAML.

    Raises:
        ValueError: A name or key is unknown, or a value is wrong.
    """
    architecture = catalog.find(model)
    values = _load(RECIPES / f"{architecture.recipe}.yaml")
    values["model"] = architecture.name
    if data is not None:
        values.setdefault("data", {})["name"] = data
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
