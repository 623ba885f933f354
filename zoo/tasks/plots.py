"""Pictures of a run, as PNG files. No display is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from zoo.tasks.pictures import colour

as_written = rc_context({"text.parse_math": False})  # a name of a class is no formula


def curves(rows: Sequence[dict[str, float]], headline: str, path: Path) -> None:
    """Draws the losses and the headline over the epochs, of training and validation.

    Args:
        rows: One for each epoch (`zoo.training.history.History`).
        headline: Name of one measure.
        path: The PNG to write.
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    found = {key.removeprefix("val_"): None for row in rows for key in row}
    losses = [name for name in found if name == "loss" or name.endswith("_loss")] or ["loss"]
    names = dict.fromkeys([*losses, *[name for name in found if name == headline]])
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            points = [(row["epoch"], row[key]) for row in rows if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(path, dpi=120)


@as_written
def confusion(
    counts: np.ndarray, labels: Sequence[str], path: Path, *, percent: bool = False
) -> None:
    """Draws a confusion matrix.

    Args:
        counts: (classes, classes); rows are true classes.
        labels: Class names.
        path: The PNG to write.
        percent: Whether to write the share of its row at each place, where it rounds to one percent
            or more, instead of the count: counts of pixels are too long.
    """
    num_classes = len(labels)
    side = min(12.0, 2.0 + 0.45 * num_classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if num_classes <= 30:
        axes.set_xticks(range(num_classes), labels, rotation=60, ha="right")
        axes.set_yticks(range(num_classes), labels)
        for row, column in zip(*np.nonzero(shares >= 0.005 if percent else counts), strict=True):
            share = shares[row, column]
            axes.text(
                column, row, f"{share:.0%}" if percent else str(counts[row, column]),
                ha="center", va="center", fontsize=8, color="white" if share > 0.5 else "black",
            )  # fmt: skip
    figure.savefig(path, dpi=120)


@as_written
def precision_recall(
    curves: Mapping[str, np.ndarray], recalls: np.ndarray, labels: Sequence[str], path: Path
) -> None:
    """Draws precision over recall of each class, and their mean.

    Args:
        curves: Precision (recalls, classes) by what it is called, e.g. `IoU .50`; NaN of a class
            that there is not.
        recalls: (recalls,), in [0, 1].
        labels: Class names; more than 20 have no legend.
        path: The PNG to write.
    """
    figure = Figure(figsize=(4.5 * len(curves) + 1.5, 4.2), layout="constrained")
    plots = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axes, (name, precision) in zip(plots, curves.items(), strict=True):
        there = np.isfinite(precision).all(axis=0)
        for index in np.flatnonzero(there).tolist():
            ink = [0.8 * level / 255 for level in colour(index)]  # that of boxes, on white
            style = ("-", "--", ":")[index // 10 % 3]
            axes.plot(
                recalls, precision[:, index], style, color=ink, linewidth=1.5, label=labels[index]
            )
        if there.any():
            mean = precision[:, there].mean(axis=1)
            axes.plot(recalls, mean, color="black", linewidth=2.5, label="mean")
            name = f"{name}, mean {mean.mean():.3f}"
        axes.set(xlabel="recall", title=name, xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    plots[0].set_ylabel("precision")
    if plots[0].lines and len(labels) <= 20:
        figure.legend(*plots[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=120)
