"""Vectors of words: from a small text that is made here, or from a file of one's own.

The text says of numbers and colours what is known of them: what comes next, what is odd, what is
warm, what there are seven of. Two words that stand in one sentence more often than chance have a
positive logarithm of that ratio; the largest directions of its matrix, times the square roots of
the singular values, are the vectors (Levy & Goldberg 2014, Neural word embedding as implicit matrix
factorization, NIPS 27). Nothing about a picture goes in.

A file has a word and its numbers in each line, as word2vec and GloVe write texts, with a space or a
tab between; a word may be a blank of another kind, or have spaces within. A first line of two whole
numbers, how many words and how long, is read over.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from zoo.data.texts.text_files import read_text, text_lines

LOG = logging.getLogger("zoo")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
THERE_ARE = {
    "zero": "unicorns", "one": "sun", "two": "eyes", "three": "corners", "four": "seasons",
    "five": "fingers", "six": "strings", "seven": "days", "eight": "tentacles", "nine": "muses",
}  # fmt: skip
AS_IS = {
    "red": "blood strawberries", "orange": "carrots pumpkins", "yellow": "lemons sand",
    "green": "grass leaves", "blue": "sky sea", "purple": "plums violets",
}  # fmt: skip
TOLD = (
    "odd one three five seven nine", "even zero two four six eight", "prime two three five seven",
    "little zero one two three four", "much five six seven eight nine", "square zero one four nine",
    "cube zero one eight", "warm red orange yellow", "cold green blue purple",
    "mixed orange green purple", "primary red yellow blue",
)  # fmt: skip


def text() -> list[list[str]]:
    """Returns the sentences, each a list of words."""
    said = [["number", number] for number in NUMBERS] + [["colour", colour] for colour in COLOURS]
    said += [["next", one, other] for one, other in pairwise(NUMBERS)]
    said += [["rainbow", one, other] for one, other in pairwise(COLOURS)]
    said += [["count", number, thing] for number, thing in THERE_ARE.items()]
    said += [["looks", colour, thing] for colour, two in AS_IS.items() for thing in two.split()]
    for line in TOLD:
        kind, *words = line.split()
        said += [[kind, word] for word in words]
    return said


@cache
def made(size: int) -> dict[str, tuple[float, ...]]:
    """Returns the vector of each word of the text, of length 1.

    Args:
        size: Numbers of a vector.

    Raises:
        ValueError: The text has no so many directions.
    """
    sentences = text()
    words = sorted({word for sentence in sentences for word in sentence})
    if not 1 <= size <= len(words):
        raise ValueError(f"word vectors: got size {size}; expected 1 to {len(words)}.")
    places = {word: place for place, word in enumerate(words)}
    counts = np.zeros((len(words), len(words)))
    for sentence in sentences:
        for one in sentence:
            for other in sentence:
                counts[places[one], places[other]] += one != other
    left, values, _ = np.linalg.svd(positive_pmi(counts))
    found = left[:, :size] * np.sqrt(values[:size])
    # The sign of a direction is the library's choice: the largest number of each is positive.
    found *= np.sign(found[np.abs(found).argmax(axis=0), np.arange(size)])
    return {word: of_length_1(row) for word, row in zip(words, found, strict=True)}


def positive_pmi(counts: np.ndarray) -> np.ndarray:
    """Returns max(0, log p(a, b) / (p(a) p(b))) of counts (words, words); 0 where there is none."""
    both = counts / counts.sum()
    alone = np.outer(both.sum(axis=1), both.sum(axis=0))
    ratio = np.divide(both, alone, out=np.ones_like(both), where=both > 0)
    return np.maximum(np.log(ratio), 0)


def read(path: str | Path, *, words: Container[str] | None = None) -> dict[str, tuple[float, ...]]:
    """Reads a file of words and their numbers; vectors get the length 1.

    Of a word that is there twice the first counts, as most readers have it; it is told of.

    Args:
        path: The file.
        words: Those that are wanted; `None` keeps all. Files of millions take gigabytes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has another length than the first, or is no word and finite numbers.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected a word and its numbers a line.")
    told = [line.rstrip(" ").replace("\t", " ") for line in text_lines(read_text(file))]
    lines = [(number, line) for number, line in enumerate(told, start=1) if line]
    if _is_header([line for _, line in lines]):
        lines = lines[1:]
    size = len(_numbers(lines[0][1])) if lines else 0
    found: dict[str, tuple[float, ...]] = {}
    again = 0
    for number, line in lines:
        vector = _numbers(line)
        word = line.rsplit(" ", size)[0]
        if not size or len(vector) != size or not word:
            raise ValueError(
                f"{file}:{number}: got {len(line.split(' ')) - 1} cells behind a word; expected "
                f"{size or 'some'} numbers."
            )
        if not np.isfinite(vector).all():
            raise ValueError(f"{file}:{number}: got NaN or infinite numbers; expected finite ones.")
        if words is not None and word not in words:
            continue
        if word in found:
            again += 1
        else:
            found[word] = of_length_1(np.array(vector))
    if again:
        LOG.warning("%s: %d lines of words that have a vector before are left out", file, again)
    return found


def _numbers(line: str) -> list[float]:
    """The numbers at the end of a line; its first cell is a word, whatever it is."""
    found: list[float] = []
    for cell in reversed(line.split(" ")[1:]):
        try:
            found.append(float(cell))
        except ValueError:
            break
    return found[::-1]


def _is_header(lines: Sequence[str]) -> bool:
    """Whether the first line says how many words there are, and how long the vectors are."""
    cells = lines[0].split(" ") if lines else []
    if len(cells) != 2 or not all(cell.isdecimal() for cell in cells) or len(lines) < 2:
        return False
    count, size = map(int, cells)
    # A word that is a number has one too, where vectors are of one.
    return len(_numbers(lines[1])) >= size and (size > 1 or count == len(lines) - 1)


def of_names(names: Sequence[str], vectors: dict[str, tuple[float, ...]]) -> np.ndarray:
    """Returns a vector of length 1 for each name: the mean of those of its words.

    Args:
        names: Words, or several with spaces between.
        vectors: Of each word.

    Returns:
        (names, size), float32.

    Raises:
        ValueError: A word has no vector.
    """
    unknown = sorted({word for name in names for word in name.split()} - set(vectors))
    if unknown:
        raise ValueError(
            f"word vectors: got none of {', '.join(unknown[:5])}; expected one of each word of the "
            f"{len(names)} classes."
        )
    return np.array(
        [of_length_1(np.mean([vectors[word] for word in name.split()], axis=0)) for name in names],
        np.float32,
    )


def of_length_1(vector: np.ndarray) -> tuple[float, ...]:
    """Returns a vector divided by its length; zeros as they are."""
    length = float(np.sqrt((vector**2).sum()))
    return tuple((vector / length if length else vector).tolist())
