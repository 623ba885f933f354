"""The learning-rate range test: train while the rate rises, and watch where the loss falls.

Source: Smith 2015, Cyclical learning rates for training neural networks, arXiv:1506.01186,
section 3.3. Differs: the rate rises exponentially, over all decades that could matter; the loss is
smoothed; the sweep stops when the loss has clearly left its minimum.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.common.staging import staged
from zoo.craft import plots
from zoo.craft.plan import RATES, check_sweep
from zoo.recipe import Recipe
from zoo.training.history import DivergedError
from zoo.training.run import Run
from zoo.training.transfer import loss_names

PLOT = "rates.png"
WINDOW = 15  # the loss is averaged over about a fifteenth of the sweep: half a decade of rates
DIVERGED = 4.0  # the sweep ends when the smoothed loss is this many times its minimum so far
MARGIN = 10.0  # by how much the suggestion stays below the rate of the lowest loss


@dataclass(frozen=True)
class RangeTest:
    """What a sweep measured.

    Attributes:
        rates: The learning rate of each step, rising, (steps,).
        losses: The mean training loss of each step's batch, (steps,).
        smooth: The smoothed losses, (steps,).
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss was lowest."""
        return float(self.rates[self.smooth.argmin()])

    @property
    def steepest(self) -> float:
        """The rate below `lowest` at which the smoothed loss fell fastest, per decade."""
        # The average of the first steps is still that of a few batches.
        start, end = len(self.rates) // 10, int(self.smooth.argmin()) + 1
        slopes = np.gradient(self.smooth, np.log10(self.rates))[start:end]
        return float(self.rates[start + slopes.argmin()]) if len(slopes) else self.lowest

    @property
    def suggestion(self) -> float:
        """A tenth of `lowest`, to two digits."""
        return float(f"{self.lowest / MARGIN:.1e}")

    @property
    def fell(self) -> bool:
        """Whether the loss ever fell, by a twentieth at least."""
        return bool(self.smooth.min() < 0.95 * self.smooth[0])


def sweep(recipe: Recipe, *, low: float = 1e-6, high: float = 10.0, steps: int = 150) -> RangeTest:
    """Trains a fresh model with the recipe's optimizer while the rate rises exponentially.

    Data, augmentation, losses, clipping and weight decay are the recipe's; its schedule, warm-up
    and frozen epochs are set aside.

    Args:
        recipe: Resolved settings.
        low: Rate of the first step, above 0.
        high: Rate of the last step.
        steps: Number of steps, unless the loss diverges before.

    Raises:
        ValueError: The rates or the steps make no sweep, or the optimizer has no learning rate.
        KeyboardInterrupt: It was asked to stop.
    """
    check_sweep(recipe, low=low, high=high, steps=steps)
    run = Run(recipe)
    train = recipe.train
    epochs = math.ceil(steps / max(1, len(run.data.train) // train.batch_size))
    optimizer = {"schedule": "constant", "warmup": 0.0, "learning_rate": low, "ema": None}
    settings = train.model_copy(
        update={
            "epochs": epochs,
            "optimizer": train.optimizer.model_copy(update=optimizer),
            "optimizers": {},
            "phases": (),
            "keep": "last",
            "transfer": train.transfer.model_copy(update={"frozen_epochs": 0}),
        }
    )
    names = loss_names(run.task.objectives())
    rising = Rising(np.geomspace(low, high, steps), loss=next(iter(names.values())))
    try:
        history = run.train(run.create(), settings=settings, callbacks=[rising])
    except DivergedError:
        pass  # what the sweep is after
    else:
        if history.interrupted:
            raise KeyboardInterrupt
    return rising.result()


class Rising(keras.callbacks.Callback):
    """Sets the rate of each step, notes the loss of its batch, and stops in time.

    Args:
        rates: The rate of each step.
        loss: Name of the loss to look at.
    """

    def __init__(self, rates: np.ndarray, *, loss: str = "loss"):
        super().__init__()
        self.rates, self.loss = rates, loss
        self.losses: list[float] = []
        self._total = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the rate."""
        rate = self.rates[min(len(self.losses), len(self.rates) - 1)]
        self.model.optimizer.learning_rate = float(rate)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the loss, and stops at the end of the sweep or where the loss diverges."""
        # What comes is the mean over the epoch's batches so far, all of the same size.
        before = self._total if batch else 0.0
        self._total = (logs or {})[self.loss] * (batch + 1)
        loss = self._total - before
        if math.isfinite(loss):
            self.losses.append(loss)
            smooth = smoothed(np.array(self.losses), len(self.rates))
            done = len(self.losses) == len(self.rates)
            if smooth[-1] <= DIVERGED * smooth.min() and not done:
                return
        self.model.stop_training = True

    def result(self) -> RangeTest:
        """Returns what was measured.

        Raises:
            ValueError: The loss was never finite for long enough to be compared.
        """
        num = len(self.losses)
        if num < 10:
            raise ValueError(
                f"find-lr: the loss left the finite numbers after {num} steps, at a rate of "
                f"{self.rates[num - 1]:.1e}; expected at least 10 steps. See `zoo check`."
            )
        losses = np.array(self.losses)
        return RangeTest(self.rates[:num], losses, smoothed(losses, len(self.rates)))


def smoothed(losses: np.ndarray, steps: int) -> np.ndarray:
    """Returns the exponential moving average, unbiased at its start as in Adam.

    Args:
        losses: Loss of each step so far, (taken,).
        steps: Steps of the whole sweep, more than `WINDOW`.
    """
    keep = 1 - WINDOW / steps
    mean, means = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = keep * mean + (1 - keep) * float(loss)
        means.append(mean / (1 - keep**step))
    return np.array(means)


def write_test(test: RangeTest, out: Path, *, force: bool = False) -> None:
    """Writes the table and the plot.

    Args:
        test: What was measured.
        out: The directory to be.
        force: Whether to replace an earlier range test.

    Raises:
        FileExistsError: `out` exists and `force` is not set, or it is something else.
    """
    with staged(out, force=force, mark=RATES) as stage:
        with (stage / RATES).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("step", "learning_rate", "loss", "smoothed_loss"))
            rows = zip(test.rates, test.losses, test.smooth, strict=True)
            writer.writerows((step, *map(float, row)) for step, row in enumerate(rows, start=1))
        plots.rates(test.rates, test.losses, test.smooth, test.suggestion, stage / PLOT)
