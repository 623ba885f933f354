"""Functions of the caller's own: whether they can be called as they will be, asked beforehand."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def check_call(function: Callable[..., Any] | None, name: str, *args: Any, **named: Any) -> None:
    """Refuses a function that could not be called so.

    Args:
        function: A function of the caller's own; None passes.
        name: What it is called in the error.
        *args: What stands for the arguments by place: their names.
        **named: What stands for the arguments by name.

    Raises:
        TypeError: It does not take them, or is no function.
    """
    if function is None:
        return
    wanted = ", ".join([*args, *(f"{key}=" for key in named)])
    try:
        inspect.signature(function).bind(*args, **named)
    except TypeError as error:
        got = f"a {type(function).__name__}"
        if callable(function):
            got = f"{getattr(function, '__name__', got)}{inspect.signature(function)}"
        raise TypeError(
            f"{name}: got {got}, which cannot be called as {name}({wanted}): {error}."
        ) from None
    except ValueError:  # a built-in one, which does not tell
        return
