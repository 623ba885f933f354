"""Signatures that `help()` shows in full, where keyword arguments are grouped in a `TypedDict`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])


def spelled_out(group: type) -> Callable[[_F], _F]:
    """Shows a function's `**name: Unpack[group]` as one keyword argument for each of the group.

    Args:
        group: A `TypedDict` whose keys are optional, and `None` where they are not given.
    """

    def spell(function: _F) -> _F:
        known = inspect.signature(function)
        kept = [x for x in known.parameters.values() if x.kind is not x.VAR_KEYWORD]
        named = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=getattr(kind, "__forward_arg__", kind),
            )
            for name, kind in group.__annotations__.items()
        ]
        function.__signature__ = known.replace(parameters=[*kept, *named])  # type: ignore[attr-defined]
        return function

    return spell
