"""Pairs of sentences, and whether the second follows from the first: made, or of a file.

`quantifiers`: sentences such as `not all old dogs rest` about kinds of which some are within others
(dogs are animals, running is moving). Whether what one says follows from the other, is against it,
or neither, is decided by logic: each sentence says of sets of individuals that they are empty or
that they are not. `all` says that there are such. The idea of teaching a network a logic of its own
by such pairs: Bowman, Potts & Manning 2015, arXiv:1406.1827; the classes are those of Bowman et al.
2015, arXiv:1508.05326. Made here, the same on every machine, a third of each class; a pair is in
one part alone.

`nli:PATH`: a file of SNLI's form, lines of JSON or tables (TSV) whose header names `gold_label`,
`sentence1` and `sentence2`; or a folder of such, with `train`, `dev` and `test` in their names.
Pairs without a label (`-`) are left out, and told of. Words are cut at spaces and signs, in small
letters. A file is divided at random but always alike, eight tenths, one and one; a pair that stands
there more than once is in one part, whatever its labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, partial
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.tensors import HYPOTHESIS, LABEL, TOKENS
from zoo.common.vocabulary import OF_WORDS, Vocabulary, cut
from zoo.data.dataset import DataSet, Split, alike
from zoo.data.texts.text_files import read_text, text_lines
from zoo.datasets import NLI, file_path

LABELS = ("entailment", "neutral", "contradiction")
COUNTS = {"train": 24_000, "validation": 1_500, "test": 3_000}
ENDS = (".jsonl", ".txt", ".tsv")
LONGEST = 64  # words of a sentence that are kept
NOUNS = {
    **{one: (one,) for one in ("dogs", "cats", "birds", "men", "women", "boys", "girls")},
    "animals": ("dogs", "cats", "birds"),
    "adults": ("men", "women"),
    "children": ("boys", "girls"),
    "people": ("men", "women", "boys", "girls"),
}
VERBS = {
    **{one: (one,) for one in ("walk", "run", "swim", "sleep", "sit")},
    "move": ("walk", "run", "swim"),
    "rest": ("sleep", "sit"),
}
ADJECTIVES = ("big", "small", "hungry", "fed")  # the first two exclude each other, so do the others
QUANTIFIERS = ("all", "some", "no", "not all")
KINDS = [
    (noun, size, food, verb)
    for noun, size, food, verb in product(
        NOUNS["animals"] + NOUNS["people"], ("big", "small"), ("hungry", "fed"),
        VERBS["move"] + VERBS["rest"],
    )
]  # fmt: skip


_words = partial(cut, marks=OF_WORDS, unit="word")


class Sentence(NamedTuple):
    """What a sentence is made of.

    Attributes:
        quantifier: One of `QUANTIFIERS`.
        adjective: One of `ADJECTIVES`, or empty.
        noun: A key of `NOUNS`.
        denied: Whether the verb is.
        verb: A key of `VERBS`.
    """

    quantifier: str
    adjective: str
    noun: str
    denied: bool
    verb: str

    def words(self) -> list[str]:
        """Returns the sentence."""
        verb = ["do", "not", self.verb] if self.denied else [self.verb]
        return [*self.quantifier.split(), *filter(None, [self.adjective]), self.noun, *verb]


@cache
def claims(sentence: Sentence) -> tuple[list[int], list[int]]:
    """Returns sets that a sentence gives a member, and sets that have none, as bits of `KINDS`."""
    subject = does = 0
    for place, (noun, size, food, verb) in enumerate(KINDS):
        if noun in NOUNS[sentence.noun] and sentence.adjective in ("", size, food):
            subject |= 1 << place
        if (verb in VERBS[sentence.verb]) != sentence.denied:
            does |= 1 << place
    said: dict[str, tuple[list[int], list[int]]] = {
        "all": ([subject], [subject & ~does]),
        "some": ([subject & does], []),
        "no": ([], [subject & does]),
        "not all": ([subject & ~does], []),
    }
    return said[sentence.quantifier]


def relation(premise: Sentence, hypothesis: Sentence) -> str:
    """Returns one of `LABELS`: what the premise says of the hypothesis.

    A set has a member where a part of it must have one; that is all that such sentences can say.
    """
    (some, none), (more, fewer) = claims(premise), claims(hypothesis)
    gone = 0
    for empty in none:
        gone |= empty
    both = gone
    for empty in fewer:
        both |= empty
    if any(not member & ~both for member in (*some, *more)):
        return "contradiction"
    follows = all(not empty & ~gone for empty in fewer)
    follows = follows and all(any(not (one & ~gone) & ~member for one in some) for member in more)
    return "entailment" if follows else "neutral"


def load_quantifiers() -> DataSet:
    """Makes `quantifiers`."""
    random = np.random.RandomState(0)
    wanted = sum(COUNTS.values()) // len(LABELS)
    found: dict[str, dict[tuple[Sentence, Sentence], None]] = {label: {} for label in LABELS}
    while min(map(len, found.values())) < wanted:
        premise = _sentence(random)
        hypothesis = _changed(premise, random)
        group = found[relation(premise, hypothesis)]
        if premise != hypothesis and len(group) < wanted:
            group[premise, hypothesis] = None
    rows = [
        (" ".join(one.words()), " ".join(other.words()), label)
        for pairs in zip(*(found[label] for label in LABELS), strict=True)
        for (one, other), label in zip(pairs, LABELS, strict=True)
    ]
    parts, start = {}, 0
    for name, count in COUNTS.items():
        parts[name], start = rows[start : start + count], start + count
    return _columns("quantifiers", "Sentences whose relation logic decides, made here", parts)


def _sentence(random: np.random.RandomState) -> Sentence:
    return Sentence(*(_part(place, random) for place in range(5)))  # type: ignore[arg-type]


def _part(place: int, random: np.random.RandomState) -> str | bool:
    choices = [QUANTIFIERS, ("", *ADJECTIVES), tuple(NOUNS), (False, False, True), tuple(VERBS)]
    chosen = choices[place]
    return chosen[random.randint(len(chosen))]


def _changed(sentence: Sentence, random: np.random.RandomState) -> Sentence:
    """The sentence with one to three of its parts drawn anew: near enough to have to do with it."""
    parts = list(sentence)
    for place in random.choice(5, size=random.randint(1, 4), replace=False):
        parts[place] = _part(int(place), random)
    return Sentence(*parts)  # type: ignore[arg-type]


def load(name: str) -> DataSet:
    """Reads pairs of the user's own.

    Args:
        name: `nli:PATH`, see above.

    Raises:
        FileNotFoundError: There is no such file, or a folder lacks a part.
        ValueError: A line is no pair; the line is named.
    """
    path = file_path(name)
    problems: list[str] = []
    if path.is_dir():
        files = {part: _file(path, word) for part, word in
                 (("train", "train"), ("validation", "dev"), ("test", "test"))}  # fmt: skip
        parts = {part: list(_pairs(file, problems)) for part, file in files.items()}
    else:
        rows = list(_pairs(path, problems))
        groups = alike((tuple(_words(one)), tuple(_words(other))) for one, other, _ in rows)
        order = np.random.RandomState(0).permutation(len(groups))
        held = max(1, len(groups) // 10)
        cuts = {"train": order[: -2 * held], "validation": order[-2 * held : -held],
                "test": order[-held:]}  # fmt: skip
        parts = {
            part: [rows[place] for group in chosen for place in groups[group]]
            for part, chosen in cuts.items()
        }
    few = sum(map(len, parts.values()))
    if few < 20 or not all(parts.values()):
        raise ValueError(
            f"{name}: got {few} pairs with a label; expected 20 or more, some of them in each "
            "split, where pairs of the same two sentences stand together."
        )
    return _columns(name, str(path), parts, tuple(problems))


def _file(folder: Path, word: str) -> Path:
    files = sorted(
        p for p in folder.iterdir() if word in p.name and p.suffix in (".jsonl", ".txt", ".tsv")
    )
    if not files:
        raise FileNotFoundError(
            f"{NLI}{folder}: has no file of {word}; expected e.g. snli_1.0_{word}.jsonl."
        )
    return files[0]


def _pairs(path: Path, problems: list[str]) -> Iterator[tuple[str, str, str]]:
    """The pairs of a file; what is left out is told of."""
    lines = text_lines(read_text(path, kind=NLI))
    unlabelled = 0
    for number, one, other, label in _rows(path, lines):
        if label == "-":
            unlabelled += 1
            continue
        if label not in LABELS or not one.strip() or not other.strip():
            raise ValueError(
                f"{NLI}{path}:{number}: got the label {label!r} of {one!r} and {other!r}; expected "
                f"two sentences and one of {', '.join(LABELS)}, or - for none."
            )
        yield one, other, label
    if unlabelled:
        problems.append(f"{path.name}: {unlabelled} pairs without a label are left out")


def _rows(path: Path, lines: list[str]) -> Iterator[tuple[int, str, str, str]]:
    """The number of each line, two sentences and a label."""
    names = ("sentence1", "sentence2", "gold_label")
    if path.suffix == ".jsonl" or (lines and lines[0].startswith("{")):
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
                found = [document[name] for name in names]
            except (ValueError, KeyError, TypeError):
                found = []
            if not found or not all(isinstance(cell, str) for cell in found):
                raise ValueError(
                    f"{NLI}{path}:{number}: expected a line of JSON with {', '.join(names)}, which "
                    "are strings."
                )
            yield number, *found
        return
    header = lines[0].split("\t") if lines else []
    missing = [name for name in names if name not in header]
    if missing:
        raise ValueError(
            f"{NLI}{path}:1: has no column {', '.join(missing)}; expected a table of tabs whose "
            f"first line names {', '.join(names)}."
        )
    places = [header.index(name) for name in names]
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) <= max(places):
            raise ValueError(
                f"{NLI}{path}:{number}: got {len(cells)} columns; expected {len(header)}."
            )
        yield number, *(cells[place] for place in places)  # type: ignore[misc]


def _columns(
    name: str,
    source: str,
    parts: dict[str, list[tuple[str, str, str]]],
    problems: tuple[str, ...] = (),
) -> DataSet:
    sides = {
        part: [[_words(row[side])[:LONGEST] for row in rows] for side in (0, 1)]
        for part, rows in parts.items()
    }
    vocabulary = Vocabulary.of_pieces(chain(*sides["train"]), marks=OF_WORDS)
    time = max(len(words) for each in sides.values() for words in chain(*each))
    splits = {}
    for part, rows in parts.items():
        one, other = (vocabulary.table(x, length=time, where=None) for x in sides[part])
        label = np.array([LABELS.index(label) for *_, label in rows], np.int32)
        splits[part] = Split({TOKENS: one, HYPOTHESIS: other, LABEL: label})
    columns = {
        TOKENS: vocabulary.column(time),
        HYPOTHESIS: vocabulary.column(time),
        LABEL: Column("class", (), LABELS),
    }
    told = f"{source}: {sum(map(len, parts.values())):,} pairs"
    train, validation, test = (splits[part] for part in ("train", "validation", "test"))
    return DataSet(name, told, columns, train, validation, test, problems=problems)
