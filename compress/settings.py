"""Settings that refuse a wrong value at construction, and say what to write instead.

`Settings` is the base of every setting in `compress`: a frozen pydantic model that forbids unknown
keys.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns the end of an error line: the closest name, or else all of them."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}."


class SettingsError(ValueError):
    """Values that a group of settings refuses.

    Attributes:
        problems: One line for each problem. A line starts at the field: `.sparsity: got 80.0; ...`.
    """

    def __init__(self, group: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{group}{problem}" for problem in problems))


class Settings(BaseModel):
    """A frozen group of settings, given by keyword.

    Raises:
        ValueError: One line for each problem: where, what was got, what was expected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(type(self).__name__, _problems(error, type(self))) from None


def _problems(error: ValidationError, group: type[BaseModel]) -> list[str]:
    """Turns pydantic's report into one line for each problem."""
    lines = []
    for item in error.errors():
        spot = "".join(f".{part}" for part in item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, SettingsError):  # a group within this one has said it already
            lines += [f"{spot}{problem}" for problem in cause.problems]
        elif item["type"] == "extra_forbidden":
            lines.append(
                f"{spot}: unknown key. {nearest(str(item['loc'][-1]), group.model_fields)}"
            )
        elif item["type"] == "missing":
            lines.append(f"{spot}: missing; expected a value.")
        else:
            wish = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            lines.append(f"{spot}: got {item['input']!r}; expected {wish.rstrip('.')}.")
    return lines


def _below_one(value: float) -> float:
    if 0.0 <= value < 1.0:
        return value
    hint = f" For {value:g} %, write {value / 100:g}." if 1.0 < value < 100.0 else ""
    raise ValueError(f"a fraction in [0, 1).{hint}")


def _above_zero(value: float) -> float:
    if 0.0 < value <= 1.0:
        return value
    hint = f" For {value:g} %, write {value / 100:g}." if 1.0 < value <= 100.0 else ""
    raise ValueError(f"a fraction in (0, 1].{hint}")


FractionBelowOne = Annotated[float, AfterValidator(_below_one)]
FractionAboveZero = Annotated[float, AfterValidator(_above_zero)]
