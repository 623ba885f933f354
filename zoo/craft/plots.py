"""Pictures of a range test and of searches, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
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
        losses: Loss of each batch, (steps,).
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


def pareto(trials: Sequence[Any], metric: str, path: Path, *, higher: bool = True) -> None:
    """Draws the metric of each trial of a budget's search over the size of its file.

    The colour is the latency where it was measured. A line joins the trials that no other beats in
    both; those within the budget have a ring.

    Args:
        trials: Have `least_bytes`, `metric`, `latency_seconds` and `kept`, as `compress.Report` has
            them; those without a result are left out.
        metric: Name of the metric.
        path: The PNG to write.
        higher: Whether more of the metric is better.
    """
    sign = 1 if higher else -1
    done = sorted(
        (trial for trial in trials if trial.metric is not None),
        key=lambda trial: (trial.least_bytes, -sign * trial.metric),
    )
    front: list[Any] = []
    for trial in done:
        if not front or sign * trial.metric > sign * front[-1].metric:
            front.append(trial)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*_places(front), color="0.7", zorder=1, label="best for its size")
    kept = [trial for trial in done if trial.kept]
    axes.scatter(
        *_places(kept), s=110, facecolors="none", edgecolors="tab:green", label="within the budget"
    )
    times = [trial.latency_seconds for trial in done]
    if done and None not in times:
        points = axes.scatter(*_places(done), c=[1000 * x for x in times], cmap="viridis", zorder=2)
        figure.colorbar(points, label="milliseconds for one example")
    else:
        axes.scatter(*_places(done), zorder=2)
    axes.set(xlabel="file, kB", ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def _places(trials: Sequence[Any]) -> tuple[list[float], list[float]]:
    return [trial.least_bytes / 1000 for trial in trials], [trial.metric for trial in trials]


def tradeoff(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws what exported files get right over their size, and over the time of one example.

    Where no file has a `top1`, it is the share of examples on which it has the model's.

    Args:
        rows: Have `path`, `threads`, `size_bytes`, `p50_seconds`, `metrics` and `top1_agreement`.
        path: The PNG to write.
    """
    known = all("top1" in row["metrics"] for row in rows)
    right = [row["metrics"]["top1"] if known else row["top1_agreement"] for row in rows]
    targets, threads = (sorted({row[key] for row in rows}) for key in ("target", "threads"))
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, other = figure.subplots(1, 2, sharey=True)
    for row, y in zip(rows, right, strict=True):
        if y is None:
            continue
        colour = colormaps["tab20"](targets.index(row["target"]) % 20)
        marker = "o^svDP*X"[threads.index(row["threads"]) % 8]
        look = {"color": colour, "marker": marker, "s": 28}
        if row["threads"] == threads[0]:
            left.scatter(row["size_bytes"] / 1e6, y, **look)
        label = f"{row['target']}, {row['threads']} threads"
        other.scatter(1e3 * row["p50_seconds"], y, label=label, **look)
    for axes, label in ((left, "file, MB"), (other, "one example, ms")):
        axes.set(xlabel=label, xscale="log")
        axes.grid(alpha=0.3)
    left.set_ylabel("top-1" if known else "same top-1 as the model")
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=120)
