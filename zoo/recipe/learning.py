"""How a run learns: optimizers, what keeps weights small, where it starts, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from zoo.common.settings import Settings, SettingsError
from zoo.recipe.given import Count

Fraction = Annotated[float, Field(ge=0, lt=1)]


def refuse(problems: list[str]) -> None:
    """Refuses a group of settings that do not go together, one line for each problem."""
    if problems:
        raise SettingsError("", problems)


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
        refuse(problems)
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
        weights: Name of trained weights, see `zoo weights list`: `imagenet`, or the data set of
            weights that come with the zoo. They are those of `settings.trunk` where a network for
            pixels or boxes is built on another row. `None` starts from scratch.
        frozen_epochs: First epochs, in which the head alone learns, at `head_learning_rate`; on a
            trunk all but the trunk.
        head_learning_rate: Rate of the frozen epochs.
        unfreeze: Share of the layers with weights, from the head down, that learn afterwards.
    """

    weights: str | None = None
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
        accumulate: In how many parts, one after another, a device sees its share of a step, for
            which its memory is too small. The gradient is that of the whole batch; a normalisation
            sees a part.
        optimizer: How a gradient becomes a step.
        optimizers: Changes of `optimizer` for single objectives of the task, by their names, e.g.
            `{critic: {learning_rate: 4.0e-4}}`.
        phases: Parts of the training, one after another; none is one part.
        keep: Which weights the bundle holds: the `last`, or those of the epoch with the `best`
            headline on the validation split.
        regularize: What keeps the kernels small.
        transfer: Trained weights to start from.
        film: Whether pictures are made after some epochs, `film.png` and `film.gif` of the bundle;
            `None` makes them where the task makes some in a moment.
    """

    moved: ClassVar[Mapping[str, str]] = {
        "loss": "task.loss",
        "label_smoothing": "task.label_smoothing",
        "auxiliary_weight": "task.auxiliary_weight",
    }

    epochs: Count = 10
    batch_size: Count = 128
    accumulate: Count = 1
    optimizer: Optimizer = Optimizer()
    optimizers: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    keep: Literal["last", "best"] = "last"
    regularize: Regularize = Regularize()
    transfer: Transfer = Transfer()
    film: bool | None = None

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
                f"{sum(phase.epochs for phase in self.phases)}, the sum of train.phases. Set both, "
                "e.g. train.epochs=2 and train.phases=[{epochs: 2, objectives: [classify]}]."
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
        if optimizer.kind == "lbfgs" and self.accumulate > 1:
            problems.append(
                f".accumulate: got {self.accumulate} with lbfgs; expected 1: it sums over all "
                "batches already."
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
        refuse(problems)
        return self

    def further(self, epochs: int, *, rate: float = 1.0) -> Train:
        """Returns the settings for training a trained model on, for some epochs.

        `rate` is the share of the learning rate to train with.

        Nothing is frozen, no rate is searched, there is one cycle and no moving average. AdamW
        stands in for `lbfgs`, which takes no single steps. Of the objectives those of the last
        phase take their turns, by its optimizers.
        """
        final = self.phases[-1] if self.phases else Phase(epochs=epochs)
        # Its changes count before those of single objectives.
        optimizer = Optimizer(**{**self.optimizer.model_dump(), **final.optimizer})
        single = {
            name: {key: value for key, value in values.items() if key not in final.optimizer}
            for name, values in self.optimizers.items()
        }
        plain: dict[str, Any] = {"cyclic": "cosine", "divide": "constant", "lbfgs": "adamw"}
        old = {"kind": optimizer.kind, "schedule": optimizer.schedule}
        changes: dict[str, Any] = {key: plain.get(value, value) for key, value in old.items()}
        changes |= {"ema": None, "learning_rate": rate * optimizer.learning_rate}
        taken = final.objectives  # whoever took the last turns takes these
        last = (Phase(epochs=epochs, objectives=taken),) if taken else ()
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
                    for name, values in single.items()
                },
                "phases": last,
                "keep": "last",
                "transfer": Transfer(),
            }
        )
