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


MOST = 1 << 22  # logits that are summed at a time


class Counted:
    """A meter that sums the nats of each prediction that counts, in float64."""

    def __init__(self) -> None:
        self._nats, self._hits, self._count, self._characters = 0.0, 0, 0, 0

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np
        from scipy.special import logsumexp

        targets = batch[TOKENS][:, 1:]  # (n, time)
        left = np.arange(targets.shape[1])[::-1]
        counts = batch.get(COUNTED, np.full(len(targets), targets.shape[1]))
        real = left[None] < counts[:, None]  # (n, time)
        outputs, targets = outputs[real], targets[real]
        rows = max(1, MOST // outputs.shape[1])
        for at in range(0, len(targets), rows):  # all at once would be gigabytes of float64
            logits, own = outputs[at : at + rows].astype("float64"), targets[at : at + rows]
            chosen = logits[np.arange(len(own)), own]
            self._nats += float((logsumexp(logits, axis=1) - chosen).sum())
            self._hits += int((logits.argmax(axis=1) == own).sum())
        self._count += len(targets)
        lengths = batch.get(LENGTHS)
        self._characters += len(targets) if lengths is None else int(lengths[:, 1:][real].sum())

    def result(self) -> Evaluation:
        """Returns `loss` in nats and `perplexity`, of a token, `bits_per_character` and `top1`."""
        nats = self._nats / self._count
        return Evaluation(
            {
                "loss": nats,
                "bits_per_character": self._nats / math.log(2) / self._characters,
                "perplexity": math.exp(min(nats, 700)),
                "top1": self._hits / self._count,
            },
            {"counted": [{"tokens": self._count}]},
        )
