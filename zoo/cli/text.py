"""Tables and JSON on standard output."""

from __future__ import annotations

import json
from typing import Any

from zoo.common.tables import aligned as table
from zoo.common.tables import cell, size

__all__ = ["document", "facts", "size", "table"]


def facts(pairs: dict[str, Any]) -> str:
    """Returns one line for each fact."""
    width = max(map(len, pairs))
    return "\n".join(f"{key.ljust(width)}  {cell(value)}" for key, value in pairs.items())


def document(value: Any) -> str:
    """Returns JSON."""
    return json.dumps(value, indent=2)
