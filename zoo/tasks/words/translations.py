"""What a translator said of a split: label error rate, exact match, and where it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.common.sentences import PADDING
from zoo.common.tensors import LOGITS, TOKENS, WEIGHTS
from zoo.common.vocabulary import Vocabulary
from zoo.metrics.bleu import bleu
from zoo.metrics.edits import edits
from zoo.tasks import plots
from zoo.tasks.task import Evaluation
from zoo.tasks.words.predicting import summed

if TYPE_CHECKING:
    from zoo.common.columns import Column

SHOWN, DRAWN = 16, 6  # answers in the table of the worst, and pictures of attention


class _Answer(NamedTuple):
    """What was read, said and true, as names of tokens, and how far apart the latter are."""

    source: list[str]
    said: list[str]
    true: list[str]
    edits: int


class Translations:
    """Collects answers and the nats of each true token.

    Args:
        columns: The data set's columns, by name.
    """

    def __init__(self, columns: Mapping[str, Column]):
        self._read, self._says = (Vocabulary.read(columns[n]) for n in ("source", TOKENS))
        self._answers: list[_Answer] = []
        self._looked: list[np.ndarray] = []
        self._nats, self._hits, self._count = 0.0, 0, 0

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: `source` and true `tokens` (b, 1 + time).
            outputs: `captions` (b, time); `logits` (b, time, tokens) given the true ones, and
                `place_weights` (b, time, places), where there are some.
        """
        for rows in zip(batch["source"], outputs["captions"], batch[TOKENS], strict=True):
            names = (self._read, self._says, self._says)
            read, said, true = (v.pieces_of(row) for v, row in zip(names, rows, strict=True))
            self._answers.append(_Answer(read, said, true, edits(said, true)))
        if WEIGHTS in outputs and len(self._looked) < DRAWN:
            self._looked += list(outputs[WEIGHTS][: DRAWN - len(self._looked)])
        if LOGITS in outputs:
            real = batch[TOKENS][:, 1:] != PADDING
            nats, hits = summed(outputs[LOGITS][real], batch[TOKENS][:, 1:][real])
            self._nats, self._hits = self._nats + nats, self._hits + hits
            self._count += int(real.sum())

    def result(self) -> Evaluation:
        """Measures the answers.

        Returns:
            `label_error`, the edits over the true tokens, and `exact_match`; `bleu4` where tokens
            are words; of the true tokens `loss` in nats and `top1`, where logits are known. With
            the tables `by_length` (of the text that is read) and `worst`, and the picture
            `attention` of a model that attends.
        """
        distances = np.array([one.edits for one in self._answers])
        lengths = np.array([len(one.true) for one in self._answers])
        read = np.array([len(one.source) for one in self._answers])
        metrics = {
            "label_error": float(distances.sum() / lengths.sum()),
            "exact_match": float((distances == 0).mean()),
        }
        if self._says.unit == "word":
            said = [one.said for one in self._answers]
            metrics["bleu4"] = bleu(said, [[one.true] for one in self._answers])
        if self._count:
            metrics |= {"loss": self._nats / self._count, "top1": self._hits / self._count}
        by_length = [
            {
                "length": int(length),
                "label_error": float(
                    distances[read == length].sum() / lengths[read == length].sum()
                ),
                "exact_match": float((distances[read == length] == 0).mean()),
                "support": int((read == length).sum()),
            }
            for length in np.unique(read)
        ]
        order = np.argsort(-distances, kind="stable")[:SHOWN]
        worst = [
            {
                "read": self._read.joined(one.source),
                "said": self._says.joined(one.said),
                "true": self._says.joined(one.true),
                "edits": one.edits,
            }
            for one in (self._answers[index] for index in order)
            if one.edits
        ]
        looked = [
            (one.source, one.said, weights)
            for one, weights in zip(self._answers, self._looked, strict=False)
        ]
        pictures = {"attention": partial(draw_attention, looked)} if looked else {}
        return Evaluation(metrics, {"by_length": by_length, "worst": worst}, pictures)


@plots.as_written
def draw_attention(
    looked: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]], path: Path
) -> None:
    """Draws what was looked at: a line for each token that was said, a column for each place.

    Args:
        looked: Tokens that were read and said, and the weights (time, places) of each.
        path: The PNG to write.
    """
    from matplotlib.figure import Figure

    across = min(3, len(looked))
    down = -(-len(looked) // across)
    figure = Figure(figsize=(4 * across, 3.6 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for place in axes[len(looked) :]:
        place.set_axis_off()
    for place, (source, said, weights) in zip(axes, looked, strict=False):
        lines = [*said, "end"][: len(weights)]
        place.imshow(weights[: len(lines), : len(source)], cmap="Blues", vmin=0, vmax=1)
        place.set_xticks(range(len(source)), source)
        place.set_yticks(range(len(lines)), lines)
        place.xaxis.tick_top()
    figure.savefig(path, dpi=120)
