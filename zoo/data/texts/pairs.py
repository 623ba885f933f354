"""Pairs of texts: what is read, and what is to be said; of one's own, `pairs:PATH`.

A line of a `.csv` file has two cells with a comma between; of any other file, e.g. `.tsv`, two with
a tab. There is no header; a first line of two of the names that columns have (`HEADER`) is left
out, and told of. A column in which a text has a space within is read word by word, any
other one character by character; each column has a vocabulary of its own, that of all pairs that
are not left out: how many test pairs have a token that is not learnt is told.
A tenth of what is read goes to the test split, a twentieth to validation: pairs that read the same
text are in one split.
Limits: all is held in memory; rows are as long as the longest text. `size` bounds it: pairs with a
longer text are left out, and told of.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.sentences import MARKS
from zoo.common.tensors import SOURCE, TOKENS
from zoo.common.vocabulary import Unit, Vocabulary
from zoo.data.dataset import DataSet, Split
from zoo.datasets import file_path

FEWEST = 20  # pairs, or there is nothing to learn from and to test with
HEADER = frozenset(
    [
        "answer",
        "category",
        "class",
        "from",
        "input",
        "label",
        "name",
        "origin",
        "output",
        "phones",
        "question",
        "sentence",
        "source",
        "src",
        "target",
        "text",
        "tgt",
        "to",
        "translation",
        "word",
    ]
)
LOG = logging.getLogger("zoo")


class Pair(NamedTuple):
    """What is read, and what is to be said."""

    source: str
    target: str


def load(name: str, *, size: int | None = None) -> DataSet:
    """Reads pairs of the user's own, in UTF-8.

    Args:
        name: `pairs:PATH`.
        size: Tokens of a text, at most; pairs with a longer one are left out. `None` keeps all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has not two cells or an empty one, or is not UTF-8: the line is named. Or
            there are too few pairs.
    """
    path = file_path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no such file.")
    found = read(path, where=name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return paired(name, split(found), source=f"{path}, sha256 {digest}", size=size)


def read(path: Path, *, where: str, noun: str = "what is to be said") -> list[Pair]:
    """Returns the pairs of a file, in its order; empty lines are none, nor is a header.

    Args:
        path: A file of two columns, see above.
        where: Opens the error line.
        noun: What stands in the second column.

    Raises:
        ValueError: See `load`.
    """
    comma = path.suffix.lower() == ".csv"
    found: list[Pair] = []
    told_of = False
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if "\0" in text:  # UTF-16 that was read as something else
                raise ValueError(
                    f"{where}: line {number}: has bytes of zero; expected text in UTF-8."
                )
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where}: line {number}: byte {error.start} of it is not UTF-8; expected a file "
                "in UTF-8."
            ) from None
        if not text.strip():
            continue
        cells = next(csv.reader([text])) if comma else text.split("\t")
        if len(cells) != 2 or not all(cell.strip() for cell in cells):
            told = "an empty cell" if len(cells) == 2 else f"{len(cells)} of them"
            raise ValueError(
                f"{where}: line {number}: got {told}; expected 2 cells with a "
                f"{'comma' if comma else 'tab'} between: what is read, and {noun}."
            )
        pair = Pair(*(cell.strip() for cell in cells))
        if not found and not told_of and {cell.lower() for cell in pair} <= HEADER:
            LOG.warning("%s: line %d: %r and %r are a header, left out", where, number, *pair)
            told_of = True
            continue
        found.append(pair)
    return found


def split(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Deals pairs out to the splits, by what they read: the same on every machine."""
    texts = list(dict.fromkeys(pair.source for pair in pairs))
    order = np.random.RandomState(0).permutation(len(texts))
    place = {texts[number]: rank for rank, number in enumerate(order)}
    held, test = len(texts) - len(texts) // 10 - len(texts) // 20, len(texts) - len(texts) // 10
    parts: dict[str, list[Pair]] = {"train": [], "validation": [], "test": []}
    for pair in sorted(pairs, key=lambda pair: place[pair.source]):
        rank = place[pair.source]
        name = "train" if rank < held else "validation" if rank < test else "test"
        parts[name].append(pair)
    return parts


def paired(
    name: str,
    parts: Mapping[str, Sequence[Pair]],
    *,
    source: str,
    size: int | None = None,
    units: tuple[Unit | None, Unit | None] = (None, None),
) -> DataSet:
    """Returns pairs as rows of tokens.

    Args:
        name: Name of the data set.
        parts: Pairs of `train`, `validation` and `test`.
        source: Where they were read from; their number is added.
        size: See `load`.
        units: What a token of each column is; `None`: a word where it has spaces.

    Returns:
        `source` (time,), padded with 0, and `tokens` (time,): a start, what is to be said, an end.

    Raises:
        ValueError: There are too few pairs.
    """
    every = [pair for part in parts.values() for pair in part]
    whole = _vocabularies(every, units)

    def fits(pair: Pair) -> bool:
        lengths = (len(v.pieces(text)) for v, text in zip(whole, pair, strict=True))
        return size is None or max(lengths) <= size

    kept = {split: [pair for pair in part if fits(pair)] for split, part in parts.items()}
    left, num = [pair for part in kept.values() for pair in part], len(every)
    vocabularies = _vocabularies(left, (whole[0].unit, whole[1].unit))
    different = len({pair.source for pair in left})
    if different < FEWEST or not all(kept.values()):
        within = "" if size is None else f", with texts of at most {size} tokens"
        raise ValueError(
            f"{name}: got {len(left)} pairs of {different} different texts; expected at least "
            f"{FEWEST}, some of them in each split{within}."
        )
    columns: dict[str, Column] = {}
    values: dict[str, dict[str, np.ndarray]] = {split: {} for split in kept}
    for column, place in ((SOURCE, 0), (TOKENS, 1)):
        own = vocabularies[place]
        length = max(len(own.pieces(pair[place])) for pair in left) + 2 * own.says
        columns[column] = own.column(length)
        for split, part in kept.items():
            texts = [pair[place] for pair in part]
            values[split][column] = own.rows(texts, length=length, where=name)
    problems = []
    if len(left) < num:
        problems.append(
            f"{num - len(left):,} of {num:,} pairs have more than {size} tokens: left out"
        )
    new = np.zeros(len(kept["test"]), bool)
    for column in columns:
        new |= ~np.isin(values["test"][column], values["train"][column]).all(axis=1)
    if new.any():
        problems.append(
            f"{new.sum():,} of {len(new):,} test pairs have a token that no pair to learn from has"
        )
    train, validation, test = (Split(values[split]) for split in ("train", "validation", "test"))
    told = f"{source}: {len(left):,} pairs"
    return DataSet(name, told, columns, train, validation, test, problems=tuple(problems))


def _vocabularies(
    pairs: Sequence[Pair], units: tuple[Unit | None, Unit | None]
) -> tuple[Vocabulary, Vocabulary]:
    """Of what is read, and of what is said."""
    return (
        Vocabulary.of([pair.source for pair in pairs], unit=units[0]),
        Vocabulary.of([pair.target for pair in pairs], marks=MARKS, unit=units[1]),
    )
