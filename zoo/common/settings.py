"""Settings that refuse a wrong value at construction, and say what to write instead.

`Settings` is the base of every group of settings: a frozen pydantic model that forbids unknown
keys. `nearest` finds the name that was probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from zoo.common.kinds import check_kind

MOST_SHOWN = 120  # characters of a value that is refused


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns the end of an error line: the closest name, or else all of them."""
    known = {name.lower(): name for name in names}
    if not known:
        return "There is none."
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"Did you mean {known[close[0]]!r}?" if close else f"Known: {', '.join(known.values())}."


class SettingsError(ValueError):
    """Values that a group of settings refuses.

    Attributes:
        problems: One line for each problem. A line starts at the key: `.epochs: got -1; ...`.
    """

    def __init__(self, where: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{where}{problem}" for problem in problems))


class Settings(BaseModel):
    """A frozen group of settings, given by keyword.

    Raises:
        ValueError: One line for each problem: where, what was got, what was expected.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        check_kind(cls.model_fields[info.field_name or ""].annotation, value)
        return value

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(self.called(), _problems(error, type(self))) from None

    @classmethod
    def called(cls) -> str:
        """Returns what an error line opens with."""
        return cls.__name__

    @classmethod
    def offered(cls) -> list[str]:
        """Returns the names that an error line offers in the place of an unknown one."""
        return list(cls.model_fields)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """Builds the settings from plain values; error lines open with what they came from.

        Args:
            values: Keys and plain values, e.g. those of a YAML file.
            where: What the values came from, e.g. the file's name.

        Raises:
            ValueError: One line for each problem.
        """
        if not (isinstance(values, Mapping) and all(isinstance(key, str) for key in values)):
            raise SettingsError(where, [f": got {shown(values)}; expected keys and values."])
        try:
            return cls(**values)
        except SettingsError as error:
            raise SettingsError(where, error.problems) from None


def _problems(error: ValidationError, group: type[Settings]) -> list[str]:
    """Turns pydantic's report into one line for each problem."""
    lines = []
    for item in error.errors():
        spot = "".join(f".{part}" for part in item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, SettingsError):  # a group within this one has said it already
            lines += [f"{spot}{problem}" for problem in cause.problems]
        elif item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            moved: Mapping[str, str] = getattr(group, "moved", {})
            if key in moved:
                lines.append(f"{spot}: has moved; write {moved[key]}.")
            else:
                hint = nearest(key, group.offered())
                if key.partition(":")[0] in group.offered() and ":" in key:
                    hint = f"A space is missing: write {key.replace(':', ': ', 1)!r}."
                lines.append(f"{spot}: unknown key. {hint}")
        elif item["type"] == "missing":
            lines.append(f"{spot}: missing; expected a value.")
        else:
            wish = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            lines.append(f"{spot}: got {shown(item['input'])}; expected {wish.rstrip('.')}.")
    return lines


def shown(value: Any) -> str:
    """Returns how an error line shows a value: as Python writes it, and not too long."""
    try:
        text = repr(value)
    except Exception:  # an integer of thousands of digits, a value that holds itself
        return f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def put(values: dict[str, Any], key: str, value: Any, *, where: str) -> None:
    """Puts a value into nested settings that are plain data still.

    Args:
        values: Settings by name; groups are such mappings too, and made where there are none.
        key: Names with dots between them, e.g. `schedule.end`.
        value: What becomes of it.
        where: What opens an error line.

    Raises:
        ValueError: A name before the last one is that of a value.
    """
    *groups, last = key.split(".")
    for name in groups:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ValueError(f"{where}: {name!r} is a value, not a group of settings.")
    values[last] = value


def difference(old: Any, new: Any, key: str) -> tuple[str, Any, Any] | None:
    """Returns where two plain values first differ; `None` where they do not.

    Args:
        old: Anything of JSON.
        new: Another one.
        key: What they are called.

    Returns:
        The keys that lead there, joined by dots, and both values there.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (*old, *new):
            if old.get(name) != new.get(name):
                return difference(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            if one != other:
                return difference(one, other, f"{key}.{number}")
    return None if old == new else (key, old, new)


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


# Their own line is the better one for what is no number.
FractionBelowOne = Annotated[float, Field(allow_inf_nan=True), AfterValidator(_below_one)]
FractionAboveZero = Annotated[float, Field(allow_inf_nan=True), AfterValidator(_above_zero)]
