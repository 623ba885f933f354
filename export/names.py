"""Names of inputs and outputs that every runtime takes; what need not change stays.

An input becomes an argument of a TensorFlow function, whatever the file: TensorFlow keeps only
letters of ASCII, digits and `_`, drops what stands before the first letter, and tells no capitals
from small ones. An output may be called anything of letters, digits and `_`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from typing import Any

from zoo.common.names import distinct, spelt

OWN_NAME = "name_before_export"  # an attribute of layers that were built again
TAKEN = ("self", *keyword.kwlist)  # what no argument may be called


def called(layer: Any) -> str:
    """Returns the name that the user gave a layer: one that was built again may have another."""
    return str(getattr(layer, OWN_NAME, layer.name))


def input_names(
    names: Sequence[str], outputs: Iterable[str] = (), *, plain: bool = False
) -> list[str]:
    """Returns names for inputs, in the same order: each its own, or the nearest that is free.

    Args:
        names: The model's own.
        outputs: Its own names of the outputs.
        plain: Whether a letter comes first.
    """
    wishes = [spelt(name, letter_first=plain) for name in names]
    return distinct(names, wishes, key=_as_argument, taken=TAKEN, avoided=outputs)


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
        spelt(name, letter_first=True) if plain else re.sub(r"\W", "_", name) or "output"
        for name in names
    ]
    return distinct(names, wishes, taken=inputs if apart else (), avoided=inputs)


def _as_argument(name: str) -> str:
    return re.sub(r"^[^a-z]+", "", name.lower())
