"""From what a network says at each place of a signal to labels: the likeliest path, and a beam.

Source: Graves, Fernandez, Gomez & Schmidhuber 2006, Connectionist temporal classification, ICML 23,
section 3.2. A path has a label or the blank at each place; without repetitions, then without
blanks, it is a labelling. The likeliest path is not always one of the likeliest labelling: a beam
of labellings sums over paths (prefix search; here by places, as in Hannun et al. 2014,
arXiv:1408.2873, without a language model). Index 0 is the blank.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

BLANK = 0


class Labelling(NamedTuple):
    """What a beam found.

    Attributes:
        labels: From the first on, without blanks.
        log_probability: Of all its paths that were kept, natural.
    """

    labels: tuple[int, ...]
    log_probability: float


def best_paths(logits: np.ndarray) -> list[list[int]]:
    """Returns the labelling of the likeliest path of each signal.

    Args:
        logits: (n, time, classes); the first class is the blank.
    """
    paths = logits.argmax(axis=-1)  # (n, time)
    fresh = np.concatenate([np.ones((len(paths), 1), bool), paths[:, 1:] != paths[:, :-1]], axis=1)
    kept = fresh & (paths != BLANK)
    return [row[real].tolist() for row, real in zip(paths, kept, strict=True)]


def beam(logits: np.ndarray, *, width: int) -> list[Labelling]:
    """Keeps the likeliest labellings of each prefix of a signal.

    Args:
        logits: (time, classes); the first class is the blank.
        width: Number of labellings that are kept.

    Returns:
        At most `width`, the likeliest first.
    """
    logits = logits.astype("float64")
    tops = logits.max(axis=-1, keepdims=True)
    logs = logits - tops - np.log(np.exp(logits - tops).sum(axis=-1, keepdims=True))
    # The logarithms of a labelling's paths that end in a blank, and of those that end in a label.
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in logs.tolist():
        found: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
        for labels, (blank, label) in kept.items():
            both = _sum(blank, label)
            own = found[labels]
            own[0] = _sum(own[0], both + row[BLANK])
            if labels:
                own[1] = _sum(own[1], label + row[labels[-1]])
            for new in range(1, len(row)):
                # A label again, as a new one, needs a blank between.
                before = blank if labels and new == labels[-1] else both
                longer = found[(*labels, new)]
                longer[1] = _sum(longer[1], before + row[new])
        there = [item for item in found.items() if _sum(*item[1]) > -math.inf]
        ranked = sorted(there, key=lambda item: -_sum(*item[1]))[:width]
        kept = {labels: (values[0], values[1]) for labels, values in ranked}
    return [Labelling(labels, _sum(*values)) for labels, values in kept.items()]


def _sum(one: float, other: float) -> float:
    """The logarithm of the sum of two numbers, given theirs."""
    top = max(one, other)
    if top == -math.inf:
        return top
    return top + math.log1p(math.exp(min(one, other) - top))
