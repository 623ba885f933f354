"""Sentences as rows of tokens: a start, the words, an end, and padding behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MARKS = ("<padding>", "<start>", "<end>")  # what a vocabulary of sentences begins with
PADDING, START, END = range(3)


def words(tokens: Iterable[int], vocabulary: Sequence[str]) -> list[str]:
    """Returns the words of a row of tokens, up to its end.

    Args:
        tokens: Indices of the vocabulary; starts and paddings are left out.
        vocabulary: Begins with `MARKS`.
    """
    found = []
    for token in tokens:
        if token == END:
            break
        if token not in (PADDING, START):
            found.append(vocabulary[token])
    return found
