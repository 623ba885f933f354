"""Surnames of twelve origins, character by character; and short texts of the user's own classes.

`names`: the surnames that the package `faker` (MIT) carries for twelve countries, 300 to 2,400 of
each. A name that several of them have is left out, and of those that differ in accents or case
alone all but one: a test is of names that are not nearly there to learn from. The package's modules
are read as text and never run; their digest stands in `DataSet.source`. After the tutorial of
PyTorch, Classifying names with a character-level RNN, whose own names are of 18 origins.
`named:PATH`: a file of one's own, as `zoo.data.texts.pairs` reads it, of a text and its class in
each line, each line once; a text with two classes is in one split. Names are shuffled, always
alike: 85 parts to learn from, 5 for validation, 10 for the test.
"""

from __future__ import annotations

import ast
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from zoo.common.columns import Column
from zoo.common.vocabulary import Vocabulary
from zoo.data.dataset import DataSet, Split
from zoo.data.sets.carried import carried
from zoo.data.texts import pairs
from zoo.data.texts.pairs import Pair
from zoo.datasets import NAMED, file_path

FILE = "providers/person/{}/__init__.py"
ADVICE = "run: pip install faker"
ORIGINS = {  # of each the modules of the package and the lists in them
    "Croatian": (("hr_HR", "last_names"),),
    "Dutch": (("nl_NL", "last_names"),),
    "English": (("en_GB", "last_names"),),
    "Estonian": (("et_EE", "last_names_est"),),
    "Finnish": (("fi_FI", "last_names"),),
    "French": (("fr_FR", "last_names"),),
    "German": (("de_DE", "last_names"), ("de_AT", "last_names")),
    "Irish": (("ga_IE", "last_names"),),
    "Italian": (("it_IT", "last_names"),),
    "Slovak": (("sk_SK", "last_names_male"),),  # women's names are made of these
    "Spanish": (("es_ES", "last_names"),),
    "Swedish": (("sv_SE", "last_names"),),
}


def load() -> DataSet:
    """Reads the surnames.

    Returns:
        `tokens` (time,), characters padded with 0, and `label`, the origin.

    Raises:
        ModuleNotFoundError: The package is not installed.
        FileNotFoundError: This version of it lacks a module.
        ValueError: A module lacks its list.
    """
    found, source = read()
    return labelled("names", found, source=source)


def load_file(name: str) -> DataSet:
    """Reads texts with a class each of the user's own, in UTF-8.

    Args:
        name: `named:PATH`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has not two cells, or is not UTF-8: the line is named. Or there are too
            few texts, or one class alone.
    """
    path = file_path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no such file.")
    found = list(dict.fromkeys(pairs.read(path, where=name, noun="its class")))
    classes, texts = {pair.target for pair in found}, {pair.source for pair in found}
    if len(texts) < pairs.FEWEST or len(classes) < 2:
        raise ValueError(
            f"{name}: got {len(texts)} different texts of {len(classes)} classes; expected at "
            f"least {pairs.FEWEST} of 2, a text and its class in each line."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return labelled(name, found, source=f"{NAMED}{path}, sha256 {digest}")


def read() -> tuple[list[Pair], str]:
    """Returns surnames and their origins, shuffled, and where they are from.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: See `load`.
    """
    hashed, lists = hashlib.sha256(), dict[str, dict[str, str]]()
    for origin, places in ORIGINS.items():
        names: set[str] = set()
        for locale, attribute in places:
            path = carried("faker", FILE.format(locale), data="names", advice=ADVICE)
            hashed.update(path.read_bytes())
            names |= _strings(path, attribute)
        lists[origin] = {_plain(name): name for name in sorted(names, reverse=True)}
    times = Counter(plain for names in lists.values() for plain in names)
    found = [
        Pair(name, origin)
        for origin, names in lists.items()
        for plain, name in sorted(names.items(), key=itemgetter(1))
        if times[plain] == 1
    ]
    order = np.random.RandomState(0).permutation(len(found))
    source = f"surnames in the package faker, sha256 {hashed.hexdigest()[:16]}"
    return [found[place] for place in order], source


def labelled(name: str, found: Sequence[Pair], *, source: str) -> DataSet:
    """Returns texts and their classes as rows of characters.

    Args:
        name: Name of the data set.
        found: Texts and classes.
        source: Where they were read from; their number is added.
    """
    classes = tuple(sorted({pair.target for pair in found}))
    vocabulary = Vocabulary.of([pair.source for pair in found], unit="character")
    length = max(len(vocabulary.pieces(pair.source)) for pair in found)
    splits: list[Split] = []
    for part in pairs.split(found).values():
        texts, labels = zip(*part, strict=True)
        tokens = vocabulary.rows(texts, length=length, where=name)
        label = np.array([classes.index(one) for one in labels], np.int32)
        splits.append(Split({"tokens": tokens, "label": label}))
    columns = {
        "tokens": vocabulary.column(length),
        "label": Column("class", (), classes),
    }
    told = f"{source}: {len(found):,} texts of {len(classes)} classes"
    train, validation, test = splits
    return DataSet(name, told, columns, train, validation, test)


def _plain(name: str) -> str:
    """A name without accents, in small letters: two that differ in these alone are one."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _strings(path: Path, attribute: str) -> set[str]:
    """The names in a list of a module, which may be a mapping to how often each is borne."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and attribute in map(ast.unparse, node.targets):
            values = (one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant))
            if found := {value for value in values if isinstance(value, str)}:
                return found
    raise ValueError(
        f"names: {path} has no list {attribute}; expected that of faker 40. Install another "
        "version of it."
    )
