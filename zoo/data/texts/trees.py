"""Trees: bracketed texts of one's own, `trees:PATH`, and arithmetic whose value is known.

A line is a tree of two parts each, with a label: `(3 (2 not) (3 (4 very) (1 bad)))`, as the
sentiment treebank of Socher et al. 2013 is written; the labels of the parts are read over, so
`(3 (not (very bad)))` says the same. An example has the words `tokens` (leaves,), 0 where there are
no more; `joins` (leaves,), the height at which each word meets the next, 0 behind the last; and
`label`, that of the whole.

`arithmetic`: digits and the operations max, min, + and - (of the last digit), e.g.
`(7 (max (3 (+ 4))))`: an operation and its right side are one part, so each tree has two. Source of
the idea: ListOps, Nangia & Bowman 2018, arXiv:1804.06028; made here.
Limits: a tree has `LONGEST` words at most; an unlabelled part of a number and a word, `(3 bad)`, is
taken for a labelled word.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.vocabulary import OF_WORDS, Vocabulary
from zoo.data.dataset import DataSet, Split, alike, stratify
from zoo.data.texts.text_files import read_text, text_lines
from zoo.datasets import TREES, file_path

OPERATIONS = ("max", "min", "+", "-")
EXAMPLES = 24_000
VALUES = 8  # digits of the longest expression
LONGEST = 64  # words that a tree of a file may have

Tree = Any  # a word, or a pair of trees


class Labelled(NamedTuple):
    """A tree and its label."""

    label: str
    tree: Tree


def load(name: str) -> DataSet:
    """Reads bracketed trees of the user's own, a line each, in UTF-8.

    Of each label a tenth is test, a tenth validation, the rest training, at random but always the
    same; a tree that stands there more than once is in one of them, whatever its labels. Words
    that the training part lacks are `<unknown>`.

    Args:
        name: `trees:PATH`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is no tree; the line is named.
    """
    path = file_path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{TREES}{path}: no such file.")
    trees = []
    for number, line in enumerate(text_lines(read_text(path, kind=TREES)), start=1):
        if line.strip():
            try:
                trees.append(parse(line))
            except ValueError as error:
                raise ValueError(f"{TREES}{path}:{number}: {error}") from None
    num = len({one.tree for one in trees})
    if num < 20:
        raise ValueError(f"{TREES}{path}: got {num} different trees; expected 20 or more.")
    return _columns(name, str(path), trees)


def load_arithmetic() -> DataSet:
    """Makes `arithmetic`: no expression occurs twice."""
    random = np.random.RandomState(0)
    found: dict[Labelled, None] = {}
    while len(found) < EXAMPLES:
        value, tree = _expression(random, int(random.randint(2, VALUES + 1)))
        found[Labelled(str(value), tree)] = None
    return _columns("arithmetic", "Expressions of digits, made by a formula", list(found))


def _expression(random: np.random.RandomState, digits: int) -> tuple[int, Tree]:
    """A random expression of so many digits, and its value."""
    if digits == 1:
        value = int(random.randint(10))
        return value, str(value)
    left = int(random.randint(1, digits))
    (a, one), (b, other) = _expression(random, left), _expression(random, digits - left)
    operation = OPERATIONS[random.randint(len(OPERATIONS))]
    value = {"max": max(a, b), "min": min(a, b), "+": (a + b) % 10, "-": (a - b) % 10}[operation]
    return value, (one, (operation, other))


def parse(line: str) -> Labelled:
    """Reads a tree in brackets.

    Args:
        line: See above.

    Raises:
        ValueError: It is none: brackets do not match, a part is missing or one too many, or there
            is no label.
    """
    words = line.replace("(", " ( ").replace(")", " ) ").split()
    if len(words) < 4 or words[0] != "(" or words[1] in "()":
        raise ValueError(f"got {_short(line)}; expected a label and a tree, e.g. (3 (not bad)).")
    return Labelled(words[1], _whole(words, line))


def unlabelled(text: str) -> Tree:
    """Reads a tree in brackets that has no label, e.g. `(not (very bad))`, or one word.

    Three in a bracket are a label and two parts.

    Raises:
        ValueError: See `parse`.
    """
    words = ["(", "?", *text.replace("(", " ( ").replace(")", " ) ").split(), ")"]
    if len(words) < 4:
        raise ValueError("got an empty text; expected a tree, e.g. (not (very bad)).")
    return _whole(words, text)


def _whole(words: list[str], line: str) -> Tree:
    """The tree that all words of a line are."""
    try:
        tree, end = _read(words, 0, line)
    except RecursionError:
        raise ValueError(
            f"got {_short(line)}; expected a tree of {LONGEST} words at most."
        ) from None
    if end != len(words):
        raise ValueError(f"got {_short(line)}; expected nothing behind the tree's last bracket.")
    return tree


def _read(words: list[str], place: int, line: str) -> tuple[Tree, int]:
    """The tree that begins at a place, and the place behind it; of parts, labels are read over."""
    if place >= len(words):
        raise ValueError(f"got {_short(line)}; expected a closing bracket for each that opens.")
    if words[place] == ")":
        raise ValueError(f"got {_short(line)}; expected a word or a tree where a bracket closes.")
    if words[place] != "(":
        return words[place], place + 1
    place, parts = place + 1, []
    while place < len(words) and words[place] != ")":
        part, place = _read(words, place, line)
        parts.append(part)
    if place == len(words):
        raise ValueError(f"got {_short(line)}; expected a closing bracket for each that opens.")
    labelled = len(parts) == 3 or (len(parts) == 2 and _is_label(parts, place == len(words) - 1))
    parts = parts[1:] if labelled and isinstance(parts[0], str) else parts
    if len(parts) not in (1, 2):
        raise ValueError(
            f"got a part of {len(parts)} in {_short(line)}; expected two parts, with or without a "
            "label, or a label and a word."
        )
    return (parts[0] if len(parts) == 1 else (parts[0], parts[1])), place + 1


def _is_label(parts: list[Tree], whole: bool) -> bool:
    """Whether the first of two parts is a label: of the whole, or a number before one word."""
    first, second = parts
    return isinstance(first, str) and (whole or (first.isdigit() and isinstance(second, str)))


def flat(tree: Tree) -> tuple[list[str], list[int]]:
    """Returns the words of a tree, and the height at which each meets the next (one fewer)."""
    words, joins, _ = _flat(tree)
    return words, joins


def _flat(tree: Tree) -> tuple[list[str], list[int], int]:
    if isinstance(tree, str):
        return [tree], [], 0
    (left, low, one), (right, high, other) = _flat(tree[0]), _flat(tree[1])
    height = 1 + max(one, other)
    return left + right, [*low, height, *high], height


def _columns(name: str, source: str, trees: list[Labelled]) -> DataSet:
    flats = [flat(one.tree) for one in trees]
    longest = max(len(words) for words, _ in flats)
    if longest > LONGEST:
        raise ValueError(f"{name}: got a tree of {longest} words; expected {LONGEST} at most.")
    labels = tuple(sorted({one.label for one in trees}, key=lambda x: (len(x), x)))
    label = np.array([labels.index(one.label) for one in trees], np.int32)
    groups = alike(one.tree for one in trees)
    firsts = Split({"label": label[[rows[0] for rows in groups]], "group": np.arange(len(groups))})
    parts = [
        np.array([row for group in part["group"] for row in groups[group]], np.int32)
        for part in stratify(firsts, _shares, by="label")
    ]
    vocabulary = Vocabulary.of_pieces((flats[row][0] for row in parts[0]), marks=OF_WORDS)
    tokens = vocabulary.table([words for words, _ in flats], length=longest, where=None)
    joins = np.zeros_like(tokens)
    for row, (_, heights) in enumerate(flats):
        joins[row, : len(heights)] = heights
    whole = Split({"tokens": tokens, "joins": joins, "label": label})
    columns = {
        "tokens": vocabulary.column(longest),
        "joins": Column("heights", (longest,)),
        "label": Column("class", (), labels),
    }
    train, validation, test = (whole[rows] for rows in parts)
    return DataSet(name, f"{source}: {len(trees):,} trees", columns, train, validation, test)


def _shares(num: int) -> tuple[int, int, int]:
    held = max(1, num // 10)
    return num - 2 * held, held, held


def _short(line: str) -> str:
    return repr(line.strip() if len(line) < 60 else line.strip()[:57] + "...")
