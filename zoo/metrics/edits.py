"""How many edits lie between sequences: Levenshtein's distance, and the error rate that it gives.

Source: Levenshtein 1966, Soviet Physics Doklady 10(8). The label error rate of Graves et al. 2006
(ICML 23) is the number of insertions, deletions and substitutions over the number of true labels:
of phones it is the phone error rate, of characters the character error rate. It can be above 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def edits(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Returns the least number of insertions, deletions and substitutions between two sequences."""
    row = list(range(len(other) + 1))
    for number, item in enumerate(one, start=1):
        before, row[0] = row[0], number
        for place, wanted in enumerate(other, start=1):
            cost = min(before + (item != wanted), row[place] + 1, row[place - 1] + 1)
            before, row[place] = row[place], cost
    return row[-1]


def label_error(found: Sequence[Sequence[Any]], true: Sequence[Sequence[Any]]) -> float:
    """Returns the edits between all pairs of sequences over the number of true labels.

    Raises:
        ValueError: There are not as many, or there is no true label.
    """
    labels = sum(map(len, true))
    if len(found) != len(true) or not labels:
        raise ValueError(
            f"label_error: got {len(found)} sequences and {len(true)} true ones of {labels} labels;"
            " expected as many, and at least one label."
        )
    return sum(edits(*pair) for pair in zip(found, true, strict=True)) / labels
