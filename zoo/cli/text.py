"""Tables and JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns aligned columns; numbers stand to the right."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(_number(text) for text in column[1:]) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        parts = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def facts(pairs: dict[str, Any]) -> str:
    """Returns one line for each fact."""
    width = max(map(len, pairs))
    return "\n".join(f"{key.ljust(width)}  {_cell(value)}" for key, value in pairs.items())


def document(value: Any) -> str:
    """Returns JSON."""
    return json.dumps(value, indent=2)


def size(num_bytes: int) -> str:
    """Returns bytes in the unit that suits them (1 MB is 10**6 bytes)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.2f} {unit}"
    return f"{num_bytes} B"


def _cell(value: Any) -> str:
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


def _number(text: str) -> bool:
    return text[:1].isdigit() and text[-1:].isdigit() and " " not in text
