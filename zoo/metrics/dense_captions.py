"""How well regions are found and described: average precision over overlaps and over words.

Sources: Johnson, Karpathy & Fei-Fei 2016, DenseCap, arXiv:1511.07571, section 4, and its authors'
evaluation; Banerjee & Lavie 2005, METEOR, ACL workshop on evaluation measures, section 2. Differs:
METEOR needs Java, stems and WordNet's synonyms; here words match which are the same, and nothing
else (`meteor_exact`), so a figure is not that of METEOR. True boxes that lie on one another are not
merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from keras import ops

from zoo.metrics.boxes import iou

OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
SCORES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)  # of METEOR, which is to be above
RECALLS = np.linspace(0, 1, 101)
HALF = 0.5  # overlap from which on a phrase is compared with that of the thing
ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5  # METEOR's of 2005


class Described(NamedTuple):
    """What is in a picture, or what was found in it.

    Attributes:
        boxes: y1 x1 y2 x2 in pixels, (n, 4).
        phrases: The words of each.
        scores: Of each, (n,); `None` for the truth.
    """

    boxes: np.ndarray
    phrases: Sequence[Sequence[str]]
    scores: np.ndarray | None = None


def meteor_exact(said: Sequence[str], true: Sequence[str]) -> float:
    """Returns the METEOR of 2005 of words that match exactly, in [0, 1].

    The harmonic mean of precision P and recall R, nine parts of it recall, times 1 - penalty:
    P R / (alpha P + (1 - alpha) R) (1 - gamma (chunks / matches)^beta) with alpha 0.9, beta 3 and
    gamma 0.5, those of 2005. Chunks are runs of matches in the same order in both; of the
    alignments with the most matches the one with the fewest chunks counts. Stems, synonyms and
    the later versions' weights of function words are missing.

    Args:
        said: The words to judge.
        true: The reference.
    """
    matches = (Counter(said) & Counter(true)).total()
    if not matches:
        return 0.0
    precision, recall = matches / len(said), matches / len(true)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * (_chunks(tuple(said), tuple(true)) / matches) ** BETA)


def average_precision(truth: Sequence[Described], found: Sequence[Described]) -> dict[str, float]:
    """Measures what was found and said in some pictures.

    Each box that was found, the surest first, belongs to the true box that it overlaps most; of
    those that belong to one, the first may be right and the others are wrong, as the authors'
    evaluation has it. It is right where it overlaps enough and says enough. Precision is the best
    at that recall or a higher one, at 101 recalls.

    Args:
        truth: What is in each picture.
        found: What was found in each.

    Returns:
        `map`, the mean over overlaps of .3 to .7 and over `meteor_exact` above 0 to .25;
        `detection_map`, the mean over overlaps whatever is said; `ap30` ... `ap70`, means over what
        is said at an overlap; and of all true things `recall50`, the share that has a box with an
        overlap of one half, and `exact_match50`, the share whose surest such box has the phrase
        word for word. All are 0 where there is nothing.
    """
    if any(one.scores is None for one in found):
        raise ValueError("average_precision: got boxes without scores; expected a score each.")
    pictures = [
        (known, given, _shared(known, given)) for known, given in zip(truth, found, strict=True)
    ]
    overlaps, said, scores = (np.array(values) for values in _assigned(pictures))  # (boxes,) each
    order = np.argsort(-scores, kind="stable")
    overlaps, said = overlaps[order], said[order]
    count = sum(len(one.boxes) for one in truth)
    each = {
        overlap: [
            _precision((overlaps >= overlap) & (said > least), count) for least in (-1.0, *SCORES)
        ]
        for overlap in OVERLAPS
    }
    metrics = {
        "map": float(np.mean([values[1:] for values in each.values()])),
        "detection_map": float(np.mean([values[0] for values in each.values()])),
    }
    metrics |= {f"ap{round(100 * key)}": float(np.mean(row[1:])) for key, row in each.items()}
    reached = [_reached(*picture) for picture in pictures]
    metrics["recall50"] = sum(hits for hits, _ in reached) / max(count, 1)
    metrics["exact_match50"] = sum(exact for _, exact in reached) / max(count, 1)
    return metrics


def _shared(known: Described, given: Described) -> np.ndarray:
    """Intersections over union (found, true)."""
    ours, theirs = (np.asarray(one.boxes, np.float32) for one in (given, known))
    return np.asarray(ops.convert_to_numpy(iou(ours[:, None], theirs[None])))


def _reached(known: Described, given: Described, shared: np.ndarray) -> tuple[int, int]:
    """How many true boxes have one with an overlap of one half, and the phrase by the surest."""
    hits = exact = 0
    for overlaps, true in zip(shared.T, known.phrases, strict=True):
        near = np.flatnonzero(overlaps >= HALF)
        if len(near):
            surest = near[np.asarray(given.scores)[near].argmax()]
            hits += 1
            exact += list(given.phrases[surest]) == list(true)
    return hits, exact


def _assigned(
    pictures: Sequence[tuple[Described, Described, np.ndarray]],
) -> tuple[list[float], ...]:
    """What each box is worth: overlaps, 0 of one that comes second; words; and their scores."""
    overlaps: list[float] = []
    said: list[float] = []
    scores: list[float] = []
    for known, given, shared in pictures:
        sure = np.asarray(given.scores)
        taken = np.zeros(len(known.boxes), bool)
        for index in np.argsort(-sure, kind="stable"):
            own = shared[index]
            best = int(own.argmax()) if len(own) else -1
            first = best >= 0 and own[best] > 0 and not taken[best]
            if first:
                taken[best] = True
            words, true = list(given.phrases[index]), list(known.phrases[best]) if first else []
            overlaps.append(float(own[best]) if first else 0.0)
            said.append(meteor_exact(words, true))
            scores.append(float(sure[index]))
    return overlaps, said, scores


def _precision(right: np.ndarray, count: int) -> float:
    """Average precision of boxes by falling score, of `count` true ones."""
    if not count or not len(right):
        return 0.0
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(hits / count, RECALLS)].mean())


def _chunks(said: tuple[str, ...], true: tuple[str, ...]) -> int:
    """The fewest chunks of an alignment with as many matches as there can be."""

    @cache
    def fewest(place: int, before: int, taken: int) -> tuple[int, int]:
        """Matches still to come, negative, and their chunks; `before` is the last match."""
        if place == len(said):
            return 0, 0
        choices = [fewest(place + 1, -2, taken)]
        for index, word in enumerate(true):
            if word == said[place] and not taken >> index & 1:
                matches, chunks = fewest(place + 1, index, taken | 1 << index)
                choices.append((matches - 1, chunks + (index != before + 1)))
        return min(choices)

    return fewest(0, -2, 0)[1]
