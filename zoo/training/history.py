"""What a training did, epoch by epoch, and the running sums that it is told by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class History:
    """What a training did.

    Attributes:
        rows: For each epoch its number, seconds, learning rate of the last step, and means over the
            epoch; names of the validation's means start with `val_`.
        epochs: Number of finished epochs.
        interrupted: Whether it was asked to stop before the last epoch.
        seconds: Wall time of the training steps.
        images: Number of examples trained on.
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
    """Running sums of quantities, each with the weight that it was taken over.

    They stay where they were computed until somebody asks.

    Args:
        totals: Sum and weight of each quantity.

    Attributes:
        totals: Sum and weight of each quantity, (2,).
    """

    def __init__(self, totals: Mapping[str, Any] | None = None):
        self.totals = {name: np.asarray(pair, float) for name, pair in (totals or {}).items()}

    def add(self, sums: Mapping[str, Any]) -> None:
        """Adds the sums of one batch."""
        for name, pair in sums.items():
            self.totals[name] = self.totals[name] + pair if name in self.totals else pair

    def wait(self) -> None:
        """Waits for the step that computes them."""
        for pair in self.totals.values():
            np.asarray(pair)

    def means(self) -> dict[str, float]:
        """Returns the mean of each quantity."""
        return {name: self.mean(name) for name in self.totals}

    def mean(self, name: str) -> float:
        """Returns the mean of one quantity; NaN where nothing was there to be counted."""
        total, weight = np.asarray(self.totals[name])
        return float(total / weight) if weight else math.nan

    def plain(self) -> dict[str, list[float]]:
        """Returns the sums as plain numbers, enough to go on from."""
        return {name: np.asarray(pair).tolist() for name, pair in self.totals.items()}


class Means(Mapping[str, float]):
    """The means of running sums, computed when they are read: what callbacks get in every step.

    Args:
        sums: As they are now.
    """

    def __init__(self, sums: Sums):
        self._sums = Sums()
        self._sums.totals = dict(sums.totals)

    def __getitem__(self, name: str) -> float:
        return self._sums.mean(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums.totals)

    def __len__(self) -> int:
        return len(self._sums.totals)


def logs_of(row: Mapping[str, float]) -> dict[str, float]:
    """Returns what callbacks get of a row: all but the number of the epoch."""
    return {name: value for name, value in row.items() if name != "epoch"}


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
