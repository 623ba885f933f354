"""The architectures, one file for each family.

A family's file holds builders: functions that return a plain Functional `keras.Model` of logits.
The rows of `zoo.catalog` name them; `create` builds a row.
"""

from __future__ import annotations

from typing import Any

__all__ = ["create"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'zoo.models' has no attribute {name!r}")
    from zoo.models.build import create

    return create


def __dir__() -> list[str]:
    return __all__
