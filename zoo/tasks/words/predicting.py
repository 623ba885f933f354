"""What a language model predicts, and how well: the logits of a text, and a meter of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.common.tensors import COUNTED, LENGTHS, LOGITS, TOKENS
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    import keras
    import numpy as np

MOST = 1 << 22  # logits that are summed at a time


def predictions(net: keras.Model, tokens: Any, *, training: bool) -> Any:
    """Returns the logits (b, time, vocabulary) of a network of windows, or of a step run along.

    Args:
        net: See `Language`.
        tokens: (b, time), int32.
        training: Whether to run as in training; a step has nothing that differs.
    """
    from zoo.models.step import is_step, through_time

    if is_step(net):
        return through_time(net, tokens)[LOGITS]
    return net(tokens, training=training)


def summed(logits: np.ndarray, targets: np.ndarray) -> tuple[float, int]:
    """Returns the nats of some predictions, summed in float64, and how many of them are right.

    Args:
        logits: (n, vocabulary).
        targets: The true tokens, (n,).
    """
    import numpy as np
    from scipy.special import logsumexp

    nats, hits = 0.0, 0
    rows = max(1, MOST // logits.shape[1])
    for at in range(0, len(targets), rows):  # all at once would be gigabytes of float64
        part, own = logits[at : at + rows].astype("float64"), targets[at : at + rows]
        nats += float((logsumexp(part, axis=1) - part[np.arange(len(own)), own]).sum())
        hits += int((part.argmax(axis=1) == own).sum())
    return nats, hits


class Counted:
    """A meter that sums the nats of each prediction that counts, in float64.

    Args:
        unknown: The token that stands for every word that is not in the vocabulary; `None` where
            there is none.
    """

    def __init__(self, unknown: int | None = None) -> None:
        self._nats, self._hits, self._count, self._characters = 0.0, 0, 0, 0
        self._unknown, self._lost = unknown, 0

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np

        targets = batch[TOKENS][:, 1:]  # (n, time)
        left = np.arange(targets.shape[1])[::-1]
        counts = batch.get(COUNTED, np.full(len(targets), targets.shape[1]))
        real = left[None] < counts[:, None]  # (n, time)
        targets = targets[real]
        nats, hits = summed(outputs[real], targets)
        self._nats, self._hits = self._nats + nats, self._hits + hits
        self._count += len(targets)
        lengths = (
            np.ones(len(targets), int) if LENGTHS not in batch else batch[LENGTHS][:, 1:][real]
        )
        self._characters += int(lengths.sum())
        if self._unknown is not None:
            self._lost += int(lengths[targets == self._unknown].sum())

    def result(self) -> Evaluation:
        """Returns `loss` in nats and `perplexity`, of a token, `bits_per_character` and `top1`.

        Where a token stands for words that are not known, also `unknown`, the share of the
        characters that are theirs: a small vocabulary has few bits, as it says less.
        """
        nats = self._nats / self._count
        metrics = {
            "loss": nats,
            "bits_per_character": self._nats / math.log(2) / self._characters,
            "perplexity": math.exp(min(nats, 700)),
            "top1": self._hits / self._count,
        }
        if self._unknown is not None:
            metrics["unknown"] = self._lost / self._characters
        return Evaluation(metrics, {"counted": [{"tokens": self._count}]})
