"""Tables of numbers in `.csv` files: a header or none, then lines of numbers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.common import reading
from zoo.data.texts.text_files import text_lines

POINT = "A number has a decimal point, and cells have a comma between them."


class Table(NamedTuple):
    """Numbers in lines.

    Attributes:
        names: The header, a name for each column; empty where there is none.
        values: (lines, columns), float32.
    """

    names: tuple[str, ...]
    values: np.ndarray


def read_table(path: Path, expected: str) -> Table:
    """Returns the numbers of a `.csv` file, and its header where there is one.

    The first line is a header where none of its cells is a number.

    Args:
        path: In UTF-8.
        expected: What it should be.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A cell is no number, or a line is longer or shorter; the line is named.
    """
    lines = enumerate(text_lines(reading.text(path, expected)), start=1)
    rows = [(number, next(csv.reader([line]))) for number, line in lines if line.strip()]
    names: tuple[str, ...] = ()
    if rows and not any(map(is_number, rows[0][1])):
        names = tuple(cell.strip() for cell in rows.pop(0)[1])
    if not rows:
        raise ValueError(f"{path}: got no numbers; expected {expected}.")
    width = len(names) or len(rows[0][1])
    for number, cells in rows:
        if len(cells) != width:
            raise ValueError(
                f"{path}:{number}: got {_counted(len(cells))}; expected {width}, as in the first "
                f"line. {POINT}"
            )
    try:
        return Table(names, np.array([cells for _, cells in rows], np.float32))
    except ValueError:
        raise _no_number(path, rows) from None


def _no_number(path: Path, rows: Sequence[tuple[int, list[str]]]) -> ValueError:
    number, cell = next((n, x) for n, cells in rows for x in cells if not is_number(x))
    return ValueError(f"{path}:{number}: got {cell!r}; expected a number. {POINT}")


def _counted(num: int) -> str:
    return f"{num} cell{'s' * (num != 1)}"


def is_number(cell: str) -> bool:
    """Returns whether a cell is a number, with a decimal point; NaN is one."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
