"""The tokens of a text: its vocabulary, and the text as indices of it, in memory or on the disk.

What a token is, `zoo.common.vocabulary` says. The words and the joins of byte pairs are those of
the training part; its characters are those of the whole text, since there is no other way to say
them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from zoo.common import byte_pairs
from zoo.common.vocabulary import OF_TEXT, WORD
from zoo.recipe import Text

WORDS, PIECES = 10_000, 1_000  # tokens of a vocabulary when no number is asked for
Blocks = Callable[[], Iterable[str]]


class Tokens(NamedTuple):
    """A text as tokens.

    Attributes:
        names: The vocabulary.
        places: Index of each token (n,), whole numbers.
        lengths: Characters of the text that each token stands for (n,), whole numbers; those of a
            word hold the blanks before it. `None` where each is one character.
    """

    names: tuple[str, ...]
    places: np.ndarray
    lengths: np.ndarray | None


def tokenize(blocks: Blocks, settings: Text, *, training: int, on_disk: bool = False) -> Tokens:
    """Returns a text as tokens.

    Args:
        blocks: Gives the text from the beginning, each time that it is called, in blocks that end
            with a line.
        settings: What a token is.
        training: Characters of the training part.
        on_disk: Whether the tokens are kept in a file that is gone when the process ends.

    Raises:
        ValueError: The vocabulary is too small for the text's characters.
        ModuleNotFoundError: Byte pairs without the package `tokenizers`.
    """
    if settings.unit == "character":
        if settings.vocabulary is not None:
            raise ValueError(
                f"data.text.vocabulary: got {settings.vocabulary} for characters; expected null: "
                "all that occur are kept."
            )
        names = _characters(blocks())
        table = np.fromiter(map(ord, names), np.uint32)
        parts: Iterator[tuple[np.ndarray, Any]] = (
            (np.searchsorted(table, _codes(block)), None) for block in blocks()
        )
    elif settings.unit == "word":
        names = _words(_first(blocks(), training), settings.vocabulary or WORDS)
        known = {word: place for place, word in enumerate(names)}
        parts = (_as_words(block, known) for block in blocks())
    else:
        names = _pieces(blocks, training, settings.vocabulary or PIECES)
        tokenizer = byte_pairs.tokenizer(names)
        sizes = np.array([len(name) for name in names])
        found = (np.array(tokenizer.encode(block).ids, np.int64) for block in blocks())
        parts = ((places, sizes[places]) for places in found)
    keep = _on_disk if on_disk else _in_memory
    places, lengths = keep(parts, settings.unit != "character")
    return Tokens(names, places, lengths)


def _codes(block: str) -> np.ndarray:
    return np.frombuffer(block.encode("utf-32-le"), np.uint32)


def _characters(blocks: Iterable[str]) -> tuple[str, ...]:
    known: set[str] = set()
    for block in blocks:
        known.update(block)
    return tuple(sorted(known))


def _first(blocks: Iterable[str], count: int) -> Iterator[str]:
    """The first characters of a text."""
    for block in blocks:
        if count <= 0:
            return
        yield block[:count]
        count -= len(block)


def _words(blocks: Iterable[str], size: int) -> tuple[str, ...]:
    """The most frequent words; of equals, the first in the order of their codes."""
    counts: Counter[str] = Counter()
    for block in blocks:
        counts.update(WORD.findall(block))
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return *OF_TEXT, *(word for word, _ in islice(ranked, size - 1))


def _as_words(block: str, known: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The words of a block, and how many characters each ends behind the one before."""
    found = [(match.end(), known.get(match[0], 0)) for match in WORD.finditer(block)]
    ends, places = np.array(found, np.int64).reshape(-1, 2).T
    return places, np.diff(ends, prepend=0)


def _pieces(blocks: Blocks, training: int, size: int) -> tuple[str, ...]:
    """The characters, and what is joined of them in the training part."""
    library, alphabet = byte_pairs.import_tokenizers(), _characters(blocks())
    if size <= len(alphabet):
        raise ValueError(
            f"data.text.vocabulary: got {size}; expected more than the {len(alphabet)} different "
            "characters of the text."
        )
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = byte_pairs.runs()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=list(alphabet), show_progress=False
    )
    made.train_from_iterator(_first(blocks(), training), trainer)
    places = made.get_vocab()
    return tuple(sorted(places, key=places.__getitem__))


Parts = Iterable[tuple[np.ndarray, Any]]


def _in_memory(parts: Parts, measured: bool) -> tuple[np.ndarray, np.ndarray | None]:
    places, lengths = zip(*parts, strict=True)
    told = np.concatenate(lengths).astype(np.int32) if measured else None
    return np.concatenate(places).astype(np.int32), told


def _on_disk(parts: Parts, measured: bool) -> tuple[np.ndarray, np.ndarray | None]:
    files = [tempfile.TemporaryFile() for _ in range(1 + measured)]  # noqa: SIM115 - mapped below
    for part in parts:
        for file, values in zip(files, part, strict=False):
            file.write(values.astype(np.int32).tobytes())
    for file in files:
        file.flush()
    maps = [np.memmap(file, np.int32, "r") for file in files]
    return maps[0], maps[1] if measured else None
