"""Pictures of a range test and of a search, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zoo.craft.space import Axis


def rates(
    learning_rates: np.ndarray,
    losses: np.ndarray,
    smooth: np.ndarray,
    suggestion: float,
    path: Path,
) -> None:
    """Draws the loss over the learning rate.

    Args:
        learning_rates: Rising, (steps,).
        losses: Of each batch, (steps,).
        smooth: The same, smoothed, (steps,).
        suggestion: The rate to mark.
        path: The PNG to write.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(learning_rates, losses, color="0.75", linewidth=1, label="each batch")
    axes.plot(learning_rates, smooth, color="tab:blue", label="smoothed")
    axes.axvline(suggestion, color="tab:red", linestyle="--", label=f"suggested: {suggestion:g}")
    # A diverged tail would press the rest flat.
    axes.set_ylim(0.95 * min(smooth.min(), losses.min()), 1.5 * smooth[: len(smooth) // 2].max())
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def search(
    axes: Sequence[Axis],
    points: Sequence[Mapping[str, Any]],
    values: Sequence[float | None],
    objective: str,
    path: Path,
) -> None:
    """Draws the objective over each setting that was varied; failed trials are crosses below.

    Args:
        axes: The settings; with none, the objective is drawn over the trials.
        points: The settings of each trial.
        values: The objective of each trial; `None` where it failed.
        objective: Name of the objective.
        path: The PNG to write.
    """
    figure = Figure(figsize=(4.2 * max(1, len(axes)), 3.6), layout="constrained")
    parts = figure.subplots(1, max(1, len(axes)), squeeze=False, sharey=True)[0]
    floor = min((value for value in values if value is not None), default=0.0)
    for part, axis in zip(parts, axes or [Axis("trial")], strict=True):
        xs = [point.get(axis.key, number) for number, point in enumerate(points, start=1)]
        xs = list(map(str, xs)) if axis.choices else xs
        both = list(zip(xs, values, strict=True))
        good = [(x, value) for x, value in both if value is not None]
        bad = [(x, floor) for x, value in both if value is None]
        if good:
            part.scatter(*zip(*good, strict=True), s=16)
        if bad:
            part.scatter(*zip(*bad, strict=True), marker="x", color="tab:red", label="failed")
            part.legend()
        if axis.log:
            part.set_xscale("log")
        if axis.low < axis.high:
            part.set_xlim(axis.low, axis.high)
        part.set_xlabel(axis.key.removeprefix("train."))
        part.grid(alpha=0.3)
    parts[0].set_ylabel(objective)
    figure.savefig(path, dpi=120)
