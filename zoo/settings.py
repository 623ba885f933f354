"""Settings that refuse a wrong value at construction, and say what to write instead.

`Settings` is the base of every setting in the zoo: a frozen pydantic model that forbids unknown
keys. `nearest` finds the name that was probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns the end of an error line: the closest name, or else all of them."""
    known = {name.lower(): name for name in names}
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"Did you mean {known[close[0]]!r}?" if close else f"Known: {', '.join(known.values())}."


class Settings(BaseModel):
    """A frozen group of settings; unknown keys and wrong values raise `ValueError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, values: Any, where: str) -> Self:
        """Builds the settings from plain values, e.g. those of a YAML file.

        Args:
            values: A mapping of keys to plain values.
            where: What the values came from; it opens the error line.

        Raises:
            ValueError: One line for each problem: where, what was got, what was expected.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ValueError("\n".join(explain(error, cls, where))) from None


def explain(error: ValidationError, root: type[BaseModel], where: str) -> list[str]:
    """Turns pydantic's report into one line for each problem."""
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        spot = ".".join([where, *path])
        if item["type"] == "extra_forbidden":
            hint = nearest(path[-1], _keys(root, path[:-1]))
            lines.append(f"{spot}: unknown key. {hint}")
        elif item["type"] == "missing":
            lines.append(f"{spot}: missing; expected a value.")
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            lines.append(f"{spot}: got {item['input']!r}; expected {message}.")
    return lines


def _keys(root: type[BaseModel], path: list[str]) -> list[str]:
    """The keys that the group at `path` knows."""
    group: Any = root
    for part in path:
        field = getattr(group, "model_fields", {}).get(part)
        group = field.annotation if field is not None else None
    return list(getattr(group, "model_fields", {}))
