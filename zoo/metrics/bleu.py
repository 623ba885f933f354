"""BLEU: how many of a text's n-grams the references have too.

Source: Papineni et al. 2002, BLEU: a method for automatic evaluation of machine translation, ACL
40, section 2. Counts are summed over the corpus, without smoothing: a corpus without a single match
of some length has BLEU 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]


def bleu(found: Sequence[Words], references: Sequence[Sequence[Words]], *, most: int = 4) -> float:
    """Returns the BLEU of a corpus, in [0, 1].

    Args:
        found: Words of each text.
        references: For each text, the words of one or more references.
        most: Length of the longest n-grams; all lengths from 1 count alike.

    Raises:
        ValueError: There is no text, or a text without a reference.
    """
    if not found or len(found) != len(references) or not all(references):
        raise ValueError(
            f"bleu: got {len(found)} texts and {len(references)} lists of references; expected as "
            "many, at least one, and a reference or more for each text."
        )
    hits, totals = [0] * most, [0] * most
    for words, known in zip(found, references, strict=True):
        for length in range(1, most + 1):
            counts = ngrams(words, length)
            allowed: Counter[Words] = Counter()
            for reference in known:
                allowed |= ngrams(reference, length)  # the largest count of any reference
            hits[length - 1] += (counts & allowed).total()
            totals[length - 1] += counts.total()
    if not all(hits):
        return 0.0
    precision = math.exp(sum(map(math.log, hits)) / most - sum(map(math.log, totals)) / most)
    written = sum(map(len, found))
    nearest = sum(
        min((abs(len(reference) - len(words)), len(reference)) for reference in known)[1]
        for words, known in zip(found, references, strict=True)
    )
    return min(1.0, math.exp(1 - nearest / written)) * precision


def ngrams(words: Words, length: int) -> Counter[Words]:
    """Returns how often each run of `length` words occurs."""
    return Counter(tuple(words[at : at + length]) for at in range(len(words) - length + 1))
