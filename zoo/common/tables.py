"""Tables: a header and rows, as text, as Markdown, or as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as escape
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A header and rows; the cells are formatted when it is written out."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


def aligned(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns aligned columns; numbers stand to the right."""
    cells = _cells(header, rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = _numeric(cells)
    lines = []
    for row in cells:
        parts = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table of Markdown; numbers stand to the right."""
    cells = [[text.replace("|", "\\|") for text in row] for row in _cells(header, rows)]
    rule = ["---:" if right else "---" for right in _numeric(cells)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:]))


def html(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table of HTML; numbers stand to the right."""
    cells = _cells(header, rows)
    sides = ["right" if right else "left" for right in _numeric(cells)]

    def line(row: Sequence[str], tag: str) -> str:
        parts = zip(row, sides, strict=True)
        return "".join(
            f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>' for text, side in parts
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in cells[1:])
    return f"<table><thead><tr>{line(cells[0], 'th')}</tr></thead><tbody>{body}</tbody></table>"


def size(num_bytes: int) -> str:
    """Returns bytes in the unit that suits them (1 MB is 10**6 bytes)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.2f} {unit}"
    return f"{num_bytes} B"


def cell(value: Any) -> str:
    """Returns a value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, (tuple, list)):
        return " x ".join("?" if part is None else str(part) for part in value)
    return str(value)


def _cells(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[list[str]]:
    return [list(header), *([cell(value) for value in row] for row in rows)]


def _numeric(cells: Sequence[Sequence[str]]) -> list[bool]:
    return [all(map(_number, column[1:])) for column in zip(*cells, strict=True)]


def _number(text: str) -> bool:
    return text[:1].isdigit() and text[-1:].isdigit() and " " not in text
