"""Checks of the numbers that a layer is made with; each error is one line with its name first."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def whole(value: Any, name: str, least: int = 1) -> int:
    """Returns a whole number.

    Args:
        value: What was given.
        name: What it is, e.g. `Maxout: pieces`.
        least: The smallest number that makes sense.

    Raises:
        ValueError: It is not whole, or too small.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise ValueError(f"{name} got {value!r}; expected an integer of at least {least}.")
    return int(value)


def pair(value: Any, name: str) -> tuple[int, int]:
    """Returns (along the height, along the width), given one number for both, or two.

    Raises:
        ValueError: Other than one or two whole numbers of at least 1.
    """
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    good = [isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 1 for n in numbers]
    if len(numbers) != 2 or not all(good):
        raise ValueError(f"{name} got {value!r}; expected one or two integers of at least 1.")
    return int(numbers[0]), int(numbers[1])


def padding(value: Any, name: str) -> str:
    """Returns `valid` or `same`.

    Raises:
        ValueError: It is neither.
    """
    if value not in ("valid", "same"):
        raise ValueError(f"{name}: padding got {value!r}; expected 'valid' or 'same'.")
    return str(value)
