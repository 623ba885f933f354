"""What a training did, epoch by epoch, and the running sums that it is told by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """What a training did.

    Attributes:
        rows: For each epoch its number, seconds, learning rate of the last step, and means over the
            epoch; names of the validation's means start with `val_`.
        epochs: Number of finished epochs.
        interrupted: Whether it was asked to stop before the last epoch.
        seconds: Wall time of the training steps.
        images: Number of images trained on.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    epochs: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    images: int = 0

    def extend(self, later: History) -> None:
        """Appends a training that followed."""
        self.rows += [row | {"epoch": row["epoch"] + self.epochs} for row in later.rows]
        self.epochs += later.epochs
        self.interrupted |= later.interrupted
        self.seconds += later.seconds
        self.images += later.images


class DivergedError(RuntimeError):
    """The loss is no longer a finite number."""


class Sums:
    """Running sums of quantities, and of the examples that they were taken over."""

    def __init__(self, totals: dict[str, float] | None = None):
        self.totals = dict(totals or {})

    def add(self, sums: dict[str, Any]) -> None:
        """Adds the sums of one batch."""
        for name, value in sums.items():
            self.totals[name] = self.totals.get(name, 0.0) + float(value)

    def means(self) -> dict[str, float]:
        """Returns the mean of each quantity."""
        count = self.totals.get("count", 0.0) or 1.0
        return {name: value / count for name, value in self.totals.items() if name != "count"}


def check_finite(loss: float, *, epoch: int, learning_rate: float) -> None:
    """Refuses to train on after an epoch whose loss is not a number.

    Args:
        loss: Mean over the epoch.
        epoch: Number of the epoch, from 1.
        learning_rate: The largest of the run.

    Raises:
        DivergedError: The loss is infinite or no number.
    """
    if not math.isfinite(loss):
        raise DivergedError(
            f"training diverged: the loss of epoch {epoch} is {loss}; lower "
            f"train.optimizer.learning_rate (now {learning_rate:g}), set "
            "train.optimizer.clip_global_norm=1, or let train.optimizer.schedule=divide find a "
            "rate."
        )
