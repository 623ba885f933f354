"""What the tokens of a text are: characters, words or byte pairs; the vocabulary tells which.

A vocabulary is the list of its tokens, in the order of their indices; nothing else is kept.

- Characters: each token is one character.
- Words: the first token is `<unk>`, which stands for every word that is not in the list. A word is
  a run of letters, digits and `_`; a line break and every other character but a blank is a word by
  itself. Blanks between words are not kept, and what is written has one before every word that
  does not follow a line break, so a text is not what was read character by character.
- Byte pairs (Sennrich et al. 2016, arXiv:1508.07909): the characters of the text, in the order of
  their codes, then what was made by joining two tokens that stood side by side most often, in that
  order. Nothing is lost. The package `tokenizers` joins them, the extra `text`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

LOG = logging.getLogger("zoo")

Unit = Literal["character", "word", "byte_pair"]

UNKNOWN = "<unk>"
WORD = re.compile(r"\w+|\n|[^\w\s]")
RUN = r"\n|[^\S\n]?\w+|[^\S\n]+|[^\w\s]+"  # byte pairs stay within one of these


def unit_of(vocabulary: Sequence[str]) -> Unit:
    """Returns what the tokens of a vocabulary are."""
    if vocabulary and vocabulary[0] == UNKNOWN:
        return "word"
    return "character" if all(len(token) == 1 for token in vocabulary) else "byte_pair"


def encode(text: str, vocabulary: Sequence[str], *, where: str) -> list[int]:
    """Returns the indices of the tokens of a short text.

    Args:
        text: Any.
        vocabulary: See above.
        where: Opens the error line.

    Raises:
        ValueError: A character is not in the vocabulary.
        ModuleNotFoundError: Byte pairs without the package `tokenizers`.
    """
    places = {token: index for index, token in enumerate(vocabulary)}
    unit = unit_of(vocabulary)
    if unit == "word":
        words = WORD.findall(text)
        warn_unknown(where, words, places, known=len(places) - 1, read_as=UNKNOWN)
        return [places.get(word, 0) for word in words]
    unknown = sorted(set(text) - set(places))
    if unknown:
        raise ValueError(
            f"{where}: got {', '.join(map(repr, unknown))}; expected characters of the "
            f"{sum(len(token) == 1 for token in vocabulary)} that the model learnt. Leave out what "
            "is not among them."
        )
    if unit == "character":
        return [places[character] for character in text]
    return list(tokenizer(tuple(vocabulary)).encode(text).ids)


def warn_unknown(
    where: str, words: Iterable[str], places: Container[str], *, known: int, read_as: str
) -> None:
    """Tells of words that a model does not know.

    Args:
        where: Opens the line.
        words: What is read.
        places: The vocabulary.
        known: Words in it.
        read_as: What stands for every other.
    """
    if unknown := dict.fromkeys(word for word in words if word not in places):
        told = ", ".join(map(repr, unknown))
        LOG.warning(
            "%s: %s not among the %d words of the training; read as %s", where, told, known, read_as
        )


def decode(tokens: Iterable[int], vocabulary: Sequence[str]) -> str:
    """Returns tokens as text; words with blanks between them."""
    return behind([], tokens, vocabulary)


def behind(before: Sequence[int], tokens: Iterable[int], vocabulary: Sequence[str]) -> str:
    """Returns tokens as the text that follows others.

    Args:
        before: Tokens that stand before; none at the beginning of a text.
        tokens: Indices of the vocabulary.
        vocabulary: See above.
    """
    found = [vocabulary[token] for token in tokens]
    if unit_of(vocabulary) != "word":
        return "".join(found)
    last = vocabulary[before[-1]] if before else "\n"
    parts = []
    for word in found:
        parts.append(word if "\n" in (last, word) else f" {word}")
        last = word
    return "".join(parts)


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
        pairs = [(ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts))]
        rank, place = min(pairs)
        if rank == len(ranks):
            raise ValueError(f"vocabulary: {token!r} is no join of two tokens before it.")
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
    return parts[0], parts[1]
