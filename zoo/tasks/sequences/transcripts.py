"""What a network read in the signals of a split: label error rate, exact match, and a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.edits import edits
from zoo.tasks import plots
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    from zoo.common.columns import Column
    from zoo.tasks.task import Mean

SHOWN = 6  # lines that are drawn


class Transcripts:
    """Reads as it goes, and keeps a few lines.

    Args:
        read: From what a network answers to the labels of each signal.
        loss_of: From a batch and what it answers to nats of each signal.
        columns: The data set's columns, by name.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], list[list[int]]],
        loss_of: Callable[[Any, Any], Mean],
        columns: Mapping[str, Column],
    ):
        self._read, self._loss_of, self._input = read, loss_of, next(iter(columns))
        self._names = columns["tokens"].names
        self._found: list[list[int]] = []
        self._true: list[list[int]] = []
        self._nats = 0.0
        self._kept: list[tuple[np.ndarray, np.ndarray, list[int], list[int]]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: The signals, and `tokens` (b, most).
            outputs: What the network answers.
        """
        from keras import ops

        found = self._read(outputs)
        true = [[int(token) for token in row if token] for row in batch["tokens"]]
        tensors = {"tokens": ops.convert_to_tensor(batch["tokens"])}
        nats = self._loss_of(tensors, ops.convert_to_tensor(outputs)).values
        self._nats += float(np.asarray(ops.convert_to_numpy(nats), "float64").sum())
        self._found += found
        self._true += true
        if len(self._kept) < SHOWN:
            rows = zip(batch[self._input], outputs, found, true, strict=True)
            self._kept += list(rows)[: SHOWN - len(self._kept)]

    def result(self) -> Evaluation:
        """Measures the labellings.

        Returns:
            `label_error`, the edits over the true labels, `exact_match` and `loss`, nats of a line;
            the table `by_length`, of the number of true labels; and the picture `lines`.
        """
        distances = np.array([edits(*pair) for pair in zip(self._found, self._true, strict=True)])
        lengths = np.array([len(one) for one in self._true])
        rows = []
        for length in np.unique(lengths):
            own = lengths == length
            rows.append(
                {
                    "labels": int(length),
                    "label_error": float(distances[own].sum() / (own.sum() * max(length, 1))),
                    "exact_match": float((distances[own] == 0).mean()),
                    "support": int(own.sum()),
                }
            )
        return Evaluation(
            {
                "label_error": float(distances.sum() / max(lengths.sum(), 1)),
                "exact_match": float((distances == 0).mean()),
                "loss": self._nats / len(distances),
            },
            {"by_length": rows},
            {"lines": partial(draw_lines, self._kept, self._names)},
        )


@plots.as_written
def draw_lines(
    kept: Sequence[tuple[np.ndarray, np.ndarray, list[int], list[int]]],
    names: Sequence[str],
    path: Path,
) -> None:
    """Draws signals as pictures, what was read in each, and how likely each label is where.

    Args:
        kept: A signal (time, features), outputs (places, classes), or (places, spans, classes) of
            which the largest counts, the labels that were read, and the true ones.
        names: Of the labels.
        path: The PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.2 * len(kept)), layout="constrained")
    axes = figure.subplots(len(kept), 2, squeeze=False)
    for (signal, outputs, found, true), (left, right) in zip(kept, axes, strict=True):
        left.imshow(signal.T, cmap="gray_r", aspect="auto")
        read, wanted = (" ".join(names[label] for label in one) for one in (found, true))
        left.set_title(read if found == true else f"{read} - true: {wanted}")
        left.set_axis_off()
        outputs = outputs.max(axis=1) if outputs.ndim == 3 else outputs
        shares = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        right.imshow(shares.T, cmap="Blues", aspect="auto", vmin=0, vmax=1)
        right.set_yticks(range(len(names)), [name or "blank" for name in names], fontsize=6)
    figure.savefig(path, dpi=110)
