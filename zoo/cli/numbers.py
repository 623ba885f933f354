"""Numbers on the command line: digits, and within their limits."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from zoo.common.settings import shown

MOST = 2**31 - 1


def whole(least: int = 1, most: int = MOST) -> Callable[[str], int]:
    """Returns the type of an option that takes a whole number in [least, most]."""

    def read(text: str) -> int:
        if re.fullmatch(r"[-+]?[0-9]{1,18}", text, re.ASCII) and least <= int(text) <= most:
            return int(text)
        limit = f" of {least} or more" if most == MOST else f" from {least} to {most}"
        limit = "" if least == -MOST else limit
        raise argparse.ArgumentTypeError(f"got {shown(text)}; expected a whole number{limit}")

    return read


def integer(text: str) -> int:
    """The type of an option whose limits are told where it is used."""
    return whole(-MOST)(text)


def above_zero(text: str) -> float:
    """The type of an option that takes a number above 0."""
    if (number := _number(text)) is not None and number > 0:
        return number
    raise argparse.ArgumentTypeError(f"got {shown(text)}; expected a number above 0")


def from_zero(text: str) -> float:
    """The type of an option that takes 0 or a number above it."""
    if (number := _number(text)) is not None:
        return number
    raise argparse.ArgumentTypeError(f"got {shown(text)}; expected a number of 0 or more")


def _number(text: str) -> float | None:
    """A finite number without a minus; `None` of another text."""
    if re.fullmatch(
        r"\+?([0-9]{1,99}(\.[0-9]{0,99})?|\.[0-9]{1,99})(e[-+]?[0-9]{1,3})?", text, re.I
    ):
        number = float(text)
        return number if number < float("inf") else None
    return None
