"""Pictures of a run, as PNG files. No display is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


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


def confusion(counts: np.ndarray, labels: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix.

    Args:
        counts: (classes, classes); rows are true classes.
        labels: Class names.
        path: The PNG to write.
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
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = shares[row, column] > 0.5
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                color="white" if dark else "black",
            )  # fmt: skip
    figure.savefig(path, dpi=120)
