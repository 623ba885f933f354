"""Names of inputs and outputs that every runtime takes; what need not change stays.

An input becomes an argument of a TensorFlow function, whatever the file: TensorFlow keeps only
letters of ASCII, digits and `_`, drops what stands before the first letter, and tells no capitals
from small ones. An output may be called anything of letters, digits and `_`.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

TAKEN = ("self", *keyword.kwlist)  # what no argument may be called


def input_names(
    names: Sequence[str], outputs: Iterable[str] = (), *, plain: bool = False
) -> list[str]:
    """Returns names for inputs, in the same order: each its own, or the nearest that is free.

    Args:
        names: The model's own.
        outputs: Its own names of the outputs.
        plain: Whether a letter comes first.
    """
    wishes = [_spelt(name, letter_first=plain) for name in names]
    return _distinct(names, wishes, _as_argument, TAKEN, avoided=outputs)


def output_names(
    names: Sequence[str],
    inputs: Iterable[str] = (),
    *,
    apart: bool = False,
    plain: bool = False,
) -> list[str]:
    """Returns names for outputs, in the same order: each its own, or the nearest that is free.

    Args:
        names: The model's own.
        inputs: Names of the inputs.
        apart: Whether no output may be called as an input is.
        plain: Whether they are spelt as inputs are, with a letter first.
    """
    wishes = [
        _spelt(name, letter_first=True) if plain else re.sub(r"\W", "_", name) or "output"
        for name in names
    ]
    return _distinct(names, wishes, str, inputs if apart else (), avoided=inputs)


def _distinct(
    names: Sequence[str],
    wishes: Sequence[str],
    key: Callable[[str], str],
    taken: Iterable[str],
    *,
    avoided: Iterable[str] = (),
) -> list[str]:
    """The wishes, those that clash with a number behind them; `key` says what clashes.

    What is renamed is called as none of `avoided`, so that a table of new names is of one meaning.
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


def _spelt(name: str, *, letter_first: bool) -> str:
    """A name in letters of ASCII, digits and `_`, with a letter in it and no `_` in front."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = re.sub(r"[^0-9A-Za-z_]", "_", plain).lstrip("_")
    fits = re.match("[A-Za-z]" if letter_first else "[0-9_]*[A-Za-z]", plain)
    return plain if fits else f"tensor_{plain}".rstrip("_")


def _as_argument(name: str) -> str:
    return re.sub(r"^[^a-z]+", "", name.lower())
