"""The learning rate at each step, and what the run itself has a say in: plateau and divide."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from zoo.recipe import Optimizer
from zoo.training.history import Sums

# `divide`: an epoch diverges when its mean loss is above this many times the loss of its first
# step, which the initial weights give. An epoch that learns is below 1, but for the noise of one
# batch.
DIVERGED = 1.25
TRIES = 8


@keras.saving.register_keras_serializable("zoo")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up, then the schedule of the recipe, times a scale that the run may lower.

    With W steps of warm-up in S steps, the rate at step t is `learning_rate * t / W` for t < W;
    then, times `learning_rate`: 1 (`constant`, `plateau`, `divide`); `factor ** (number of
    milestones m with t >= m * S)` (`step`); `(1 + cos(pi * p)) / 2`, where p runs from 0 at W to 1
    at S (`cosine`), or from 0 to 1 in each of `cycles` equal parts, the first from W on (`cyclic`).

    Args:
        settings: The recipe's optimizer, or its plain form.
        steps: Number of steps of the whole training, S.

    Attributes:
        scale: What the rate is multiplied by, a number; the training sets it.
    """

    def __init__(self, settings: Optimizer | dict[str, Any], steps: int) -> None:
        super().__init__()
        self.settings = settings if isinstance(settings, Optimizer) else Optimizer(**settings)
        self.steps = steps
        self.warmup = round(self.settings.warmup * steps)
        self.scale = keras.Variable(1.0, trainable=False, name="scale")

    def __call__(self, step: Any) -> Any:
        """Returns the rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        rise = step / max(1, self.warmup)
        share = ops.where(step < self.warmup, rise, self._fall(step))
        return self.settings.learning_rate * share * self.scale

    def _fall(self, step: Any) -> Any:
        kind = self.settings.schedule
        if kind == "step":
            passed = [ops.cast(step >= m * self.steps, "float32") for m in self.settings.milestones]
            return ops.power(self.settings.factor, sum(passed))
        if kind not in ("cosine", "cyclic"):
            return ops.ones_like(step)
        length = self.steps / (self.settings.cycles if kind == "cyclic" else 1)
        cycle = ops.minimum(ops.floor(step / length), self.steps / length - 1)
        start = ops.where(cycle < 1, self.warmup, cycle * length)
        place = (step - start) / ops.maximum((cycle + 1) * length - start, 1)
        return (1 + ops.cos(math.pi * ops.clip(place, 0, 1))) / 2

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this schedule again."""
        return {"settings": self.settings.model_dump(mode="json"), "steps": self.steps}


class Watch:
    """Lowers the scale of a rate when the training says so.

    Args:
        rate: The optimizer's; one without a scale is left alone.
        settings: The recipe's optimizer.

    Attributes:
        state: Plain numbers, enough to go on from.
    """

    def __init__(self, rate: Any, settings: Optimizer) -> None:
        self._rate = rate
        self._settings = settings
        self.state: dict[str, Any] = {
            "scale": 1.0, "tries": 0, "best": None, "waited": 0, "first": None,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from an earlier state."""
        self.state = dict(state)
        self._apply()

    def end_epoch(self, validation_loss: float) -> bool:
        """Takes note of an epoch; returns whether `plateau` lowered the rate."""
        state = self.state
        if self._settings.schedule != "plateau":
            return False
        if state["best"] is None or validation_loss < state["best"]:
            state["best"], state["waited"] = validation_loss, 0
            return False
        state["waited"] += 1
        if state["waited"] < self._settings.patience:
            return False
        state["waited"] = 0
        self.lower()
        return True

    def diverges(self, sums: Sums, name: str, *, share: float) -> bool:
        """Whether the first epoch of `divide` has lost its way.

        It has when its mean loss is not finite, or will be above `DIVERGED` times the loss of the
        first step whatever follows: no loss is negative.

        Args:
            sums: Sums of the epoch so far, after at least one step.
            name: Which of them is the loss.
            share: Share of the epoch's steps that was taken, above 0; what the loss counts,
                examples, tokens or pixels, is taken to go on as it began.
        """
        loss, weight = (float(value) for value in sums.totals[name])
        if self.state["first"] is None:
            self.state["first"] = sums.mean(name)
        return not math.isfinite(loss) or loss > DIVERGED * self.state["first"] * weight / share

    def lower(self) -> None:
        """Multiplies the scale by the recipe's factor."""
        self.state["tries"] += 1
        self.state["scale"] *= self._settings.factor
        self.state["first"] = None
        self._apply()

    @property
    def rate(self) -> float:
        """The largest rate, as lowered so far."""
        return float(self.state["scale"] * self._settings.learning_rate)

    def _apply(self) -> None:
        if isinstance(self._rate, Rate):
            self._rate.scale.assign(self.state["scale"])
