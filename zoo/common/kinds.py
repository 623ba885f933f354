"""Numbers are numbers, and booleans are booleans: what pydantic would turn into one another.

In its usual mode it takes `True` for 1.0, 1 for `True`, "yes" for `True` and "5" for 5.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def check_kind(annotation: Any, value: Any) -> None:
    """Refuses a boolean for a number, a number for a boolean, and a text for either.

    Args:
        annotation: Type of a setting.
        value: As it was given; what is within a sequence or a mapping is looked at too.

    Raises:
        ValueError: It is of another kind.
    """
    options = _options(annotation)
    kinds = {kind for option in options for kind in _kinds(option)}
    got = _kind(value)
    if got is not None:
        if kinds and got not in kinds and "any" not in kinds:
            raise ValueError(_wish(kinds))
        return
    if isinstance(value, Mapping):
        for option in options:
            inner = get_args(option)
            if len(inner) == 2 and issubclass(get_origin(option) or object, Mapping):
                for part in value.values():
                    check_kind(inner[1], part)
    elif isinstance(value, (list, tuple)):
        for option in options:
            if get_origin(option) in (tuple, list):
                _check_parts(get_args(option), value)


def _check_parts(inner: tuple[Any, ...], values: Any) -> None:
    if not inner:
        return
    if len(inner) == 1 or inner[-1] is Ellipsis:
        inner = (inner[0],) * len(values)
    for annotation, part in zip(inner, values, strict=False):
        check_kind(annotation, part)


def _options(annotation: Any) -> list[Any]:
    """The members of a union, what `Annotated` adds left out."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for option in get_args(annotation) for part in _options(option)]
    return [annotation]


def _kinds(annotation: Any) -> set[str]:
    """The kinds of plain values that a type takes; none for one that is made of others."""
    if annotation is Any:
        return {"any"}
    if get_origin(annotation) is Literal:
        return {kind for value in get_args(annotation) if (kind := _kind(value)) is not None}
    names = {bool: "boolean", int: "number", float: "number", str: "text"}
    if annotation in names:
        return {names[annotation]}
    return set() if annotation is type(None) or get_origin(annotation) else {"any"}


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None


def _wish(kinds: set[str]) -> str:
    told = {"boolean": "true or false", "number": "a number", "text": "a text"}
    return " or ".join(told[kind] for kind in ("boolean", "number", "text") if kind in kinds)
