"""Names that TensorFlow bears, and how others are spelt: what need not change stays."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

# The scopes of a graph are called as its layers are, the first as here, the others a little looser.
SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*")


def spelt(name: str, *, letter_first: bool = False) -> str:
    """Returns a name in letters of ASCII, digits and `_`, with a letter in it and no `_` in front.

    Args:
        name: Any.
        letter_first: Whether a letter comes first.
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"[^0-9A-Za-z_]", "_", plain).lstrip("_")
    fits = re.match("[A-Za-z]" if letter_first else "[0-9_]*[A-Za-z]", plain)
    return plain if fits else f"tensor_{plain}".rstrip("_")


def distinct(
    names: Sequence[str],
    wishes: Sequence[str],
    *,
    key: Callable[[str], str] = str,
    taken: Iterable[str] = (),
    avoided: Iterable[str] = (),
) -> list[str]:
    """Returns the wishes, those that clash with a number behind them.

    Args:
        names: Names as they are; one that is its own wish has it before the others.
        wishes: A name for each.
        key: What clashes when it is equal.
        taken: Names that none may have.
        avoided: Names that none may have that changes, so that a table of new names is of one
            meaning.
    """
    used = {key(name) for name in taken}
    found: list[str] = [""] * len(names)
    for place, (name, wish) in enumerate(zip(names, wishes, strict=True)):
        if name == wish and key(wish) not in used:
            found[place] = wish
            used.add(key(wish))
    used |= {key(name) for name in avoided}
    for place, wish in enumerate(wishes):
        name, number = wish, 0
        while not found[place]:
            if key(name) not in used:
                found[place] = name
                used.add(key(name))
            number += 1
            name = f"{wish}_{number}"
    return found


def scope_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Returns new names for those that no scope of a TensorFlow graph bears, by the old ones.

    `_x`, `größe` and `my layer` are such: Keras takes them, and fails where a graph is traced or
    saved.

    Args:
        names: Of layers and models; of two that are equal the new ones are too.
        taken: Further names that no new one may equal.
    """
    every = list(dict.fromkeys(names))
    bad = [name for name in every if not SCOPE.fullmatch(name)]
    kept = {name.lower() for name in (*every, *taken)}
    new = distinct(bad, [spelt(name) for name in bad], key=str.lower, taken=kept)
    return dict(zip(bad, new, strict=True))
