"""Byte pairs: tokens of several characters, made by joining those that stand side by side most.

Source: Sennrich et al. 2016, arXiv:1508.07909. A vocabulary has the characters of a text, in the
order of their codes, then what was joined of two tokens before it, in that order; nothing else is
kept. Nothing of a text is lost. The package `tokenizers` joins them, the extra `text`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

RUN = r"\n|[^\S\n]?\w+|[^\S\n]+|[^\w\s]+"  # byte pairs stay within one of these


@lru_cache(maxsize=4)
def tokenizer(vocabulary: tuple[str, ...]) -> Any:
    """Returns the tokenizer of a vocabulary of byte pairs.

    Which two tokens a longer one was joined of, is what the joins before it make of its characters.

    Raises:
        ModuleNotFoundError: The package `tokenizers` is not installed.
    """
    library = import_tokenizers()
    places = {token: index for index, token in enumerate(vocabulary)}
    joins: list[tuple[str, str]] = []
    ranks: dict[tuple[str, str], int] = {}
    for token in vocabulary:
        if len(token) > 1:
            one, other = _joined(token, ranks)
            ranks[one, other] = len(joins)
            joins.append((one, other))
    made = library.Tokenizer(library.models.BPE(vocab=places, merges=joins))
    made.pre_tokenizer = runs()
    return made


def runs() -> Any:
    """Returns what cuts a text into runs that byte pairs stay within."""
    library = import_tokenizers()
    return library.pre_tokenizers.Split(library.Regex(RUN), behavior="isolated")


def import_tokenizers() -> Any:
    """Returns the package `tokenizers`.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    try:
        import tokenizers
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "byte pairs: the package tokenizers is not installed. "
            "Run `pip install 'keras-model-zoo[text]'`."
        ) from None
    return tokenizers


def _joined(token: str, ranks: dict[tuple[str, str], int]) -> tuple[str, str]:
    """The last two parts of a token, once all earlier joins were made in it."""
    parts = list(token)
    while len(parts) > 2:
        first = min(pairwise(parts), key=lambda pair: ranks.get(pair, len(ranks)))
        if first not in ranks:
            raise ValueError(f"vocabulary: {token!r} is no join of two tokens before it.")
        # What a join makes was joined later than its parts: all of a rank come before it.
        joined: list[str] = []
        place = 0
        while place < len(parts):
            both = (*parts[place : place + 2],) == first
            joined.append("".join(first) if both else parts[place])
            place += 1 + both
        parts = joined
    return parts[0], parts[1]
