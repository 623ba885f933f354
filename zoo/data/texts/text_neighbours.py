"""Words with their neighbours: what vectors of words are learnt from.

What is no word, a line break or a stop, and what is not in the vocabulary are left out first; a
window then reaches over the place where they stood, as in word2vec.c.
"""

from __future__ import annotations

import re

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import Split

SIZE = 5
"""Words on each side when no number is asked for."""


def words_alone(
    places: np.ndarray, names: tuple[str, ...], stops: tuple[int, ...]
) -> list[np.ndarray]:
    """Returns the words of each part of a text.

    Args:
        places: The text as indices of a vocabulary of words (n,), whole numbers.
        names: The vocabulary.
        stops: Where the parts begin but the first, and where the text ends.
    """
    known = np.array(
        [place > 0 and re.match(r"\w", name) is not None for place, name in enumerate(names)]
    )
    parts = np.split(places, stops[:-1])
    return [part[known[part]] for part in parts]


def contexts(
    parts: list[np.ndarray], names: tuple[str, ...], size: int
) -> tuple[dict[str, Column], list[Split]]:
    """Returns each word with `size` words on each side; 0 where the part ends.

    Args:
        parts: Words of each part of the text.
        names: The vocabulary.
        size: Words on each side.

    Returns:
        Columns, `tokens` (2 size + 1,), and the parts; the first in random order.
    """
    splits = []
    for number, part in enumerate(parts):
        padded = np.pad(part, size)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * size + 1)
        order = np.arange(len(part))
        if not number:
            order = np.random.RandomState(0).permutation(order)
        splits.append(Split({"tokens": windows[order].astype(np.int32)}))
    return {"tokens": Column("tokens", (2 * size + 1,), names, "word")}, splits


def cooccurrences(
    parts: list[np.ndarray], names: tuple[str, ...], size: int
) -> tuple[dict[str, Column], list[Split]]:
    """Returns which words stand near one another, and how often; at d words' distance 1/d times.

    All parts are counted as one text: counts of a tenth of it say less of the same pair. What is
    held out are pairs, drawn at random but always alike, as many of a hundred as the last two parts
    have of a hundred words. A pair and its other order are in one part.

    Args:
        parts: Words of each part of the text.
        names: The vocabulary.
        size: Words on each side.

    Returns:
        Columns, `tokens` (2,), a word and one near it, and `times` (); both orders of a pair occur.
    """
    text = np.concatenate(parts)
    near = range(1, min(size, len(text) - 1) + 1)
    ones = np.concatenate([text[:-d] for d in near]).astype(np.int64)
    others = np.concatenate([text[d:] for d in near]).astype(np.int64)
    weights = np.concatenate([np.full(len(text) - d, 1 / d) for d in near])
    keys = np.concatenate([ones * len(names) + others, others * len(names) + ones])
    found, inverse = np.unique(keys, return_inverse=True)
    times = np.bincount(inverse, np.tile(weights, 2))
    pairs = np.stack([found // len(names), found % len(names)], axis=1)
    alike = pairs.min(axis=1) * len(names) + pairs.max(axis=1)  # of both orders
    unordered, of_each = np.unique(alike, return_inverse=True)
    shares = np.cumsum([len(part) for part in parts[:-1]]) / len(text)
    draws = np.random.RandomState(0).permutation(len(unordered)) / len(unordered)
    part_of = np.searchsorted(shares, draws, side="right")[of_each]
    order = np.random.RandomState(0).permutation(len(found))
    splits = []
    for part in range(len(parts)):
        rows = order[part_of[order] == part]
        columns = {"tokens": pairs[rows].astype(np.int32), "times": times[rows].astype(np.float32)}
        splits.append(Split(columns))
    return {"tokens": Column("tokens", (2,), names, "word"), "times": Column("number")}, splits
