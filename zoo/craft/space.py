"""Which settings of a recipe a search varies, and between what. Plain text; no NumPy, no Optuna.

train.optimizer.learning_rate=1e-4:1e-1:log     between two ends, uniform in the logarithm
train.batch_size=16:128                         whole numbers, where the setting is one
train.optimizer.kind=sgd,adamw                  one of these
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from zoo import recipe as recipes
from zoo.common import plain_yaml
from zoo.common.settings import shown
from zoo.recipe import Recipe

Value = str | int | float | bool | None


class Axis(NamedTuple):
    """One setting that a search varies: between `low` and `high`, or one of `choices`.

    Attributes:
        key: The setting's place in the recipe, dots between the names.
        low: Smallest value.
        high: Largest value.
        log: Whether the search is uniform in the logarithm.
        whole: Whether the values are whole numbers.
        choices: The values; empty for a range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Value, ...] = ()

    def points(self, num: int) -> list[Value]:
        """Returns `num` values from end to end, evenly spaced on the axis; or all choices.

        Args:
            num: Number of values, at least 2; whole numbers that coincide are given once.
        """
        if self.choices:
            return list(self.choices)
        way = [step / (num - 1) for step in range(1, num - 1)]
        if self.log:
            inner = [self.low * (self.high / self.low) ** share for share in way]
        else:
            inner = [self.low + (self.high - self.low) * share for share in way]
        values = [self.low, *inner, self.high]  # the ends are exact
        return list(dict.fromkeys(round(v) for v in values)) if self.whole else list(values)


DEFAULT = (
    "train.optimizer.learning_rate=1e-4:1e-1:log",
    "train.optimizer.weight_decay=1e-6:1e-1:log",
)
"""What is varied when nothing is said."""


def read_space(path: Path) -> list[str]:
    """Reads ranges from a YAML file: `key: low:high:log`, or `key: [a, b]`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not keys and values.
    """
    values = plain_yaml.read(path, "ranges in YAML")
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"{path}: got {shown(values)}; expected e.g. {_plain(DEFAULT[0])}.")
    return [
        f"{key}={','.join(_text(v) for v in value) if isinstance(value, list) else value}"
        for key, value in values.items()
    ]


def parse(ranges: Iterable[str], recipe: Recipe) -> tuple[Axis, ...]:
    """Returns the axes of a search.

    Args:
        ranges: `key=low:high`, `key=low:high:log` or `key=a,b,c`.
        recipe: What they vary. It must accept every end and every choice.

    Raises:
        ValueError: One is malformed, twice there, or unknown to the recipe.
    """
    axes = tuple(_axis(text, recipe) for text in ranges)
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"--range: got {key} twice; expected each key once.")
    return axes


def grid(axes: tuple[Axis, ...], trials: int) -> dict[str, list[Value]]:
    """Returns the values on each axis of the largest grid that has at most `trials` points.

    All ranges get equally many values, as far as whole numbers allow it.

    Raises:
        ValueError: Two values for each range are already more than `trials`.
    """
    if not axes:
        raise ValueError("--search grid: got no range; expected at least one, see --range.")
    best = None
    for num in range(2, trials + 1):
        values = {axis.key: axis.points(num) for axis in axes}
        if math.prod(map(len, values.values())) > trials:
            break
        best = values
        if all(axis.choices or (axis.whole and num > axis.high - axis.low) for axis in axes):
            break  # there are no more values
    if best is None:
        least = math.prod(len(axis.points(2)) for axis in axes)
        raise ValueError(
            f"--trials: got {trials}; expected at least {least}, two values for each range of the "
            "grid. Raise it, or leave out a range."
        )
    return best


def points(values: Mapping[str, list[Value]]) -> list[dict[str, Value]]:
    """Returns all points of a grid."""
    return [dict(zip(values, point, strict=True)) for point in product(*values.values())]


def settings(values: Mapping[str, Value]) -> list[str]:
    """Returns settings as `--set` understands them."""
    return [f"{key}={_text(value)}" for key, value in values.items()]


def _axis(text: str, recipe: Recipe) -> Axis:
    key, equals, span = text.partition("=")
    if not equals or not key or not span:
        raise ValueError(f"--range: got {text!r}; expected e.g. {DEFAULT[0]}.")
    if ":" not in span:
        choices = tuple(_accepted(recipe, key, part, text) for part in span.split(","))
        if len(set(map(repr, choices))) < len(choices):
            raise ValueError(f"--range {text}: got a choice twice; expected each once.")
        return Axis(key, choices=choices)
    low, high, *how = span.split(":")
    if how not in ([], ["log"]):
        raise ValueError(f"--range {text}: got {':'.join(how)!r}; expected `log` or nothing.")
    ends = [_accepted(recipe, key, part, text) for part in (low, high)]
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        raise ValueError(f"--range {text}: expected numbers around the colon; or write {key}=a,b.")
    first, last = (float(end) for end in ends)  # type: ignore[arg-type]
    if not first < last or not math.isfinite(first) or not math.isfinite(last):
        raise ValueError(f"--range {text}: got {low} to {high}; expected low below high.")
    if how and first <= 0:
        raise ValueError(
            f"--range {text}: got {low} as the low end; expected a number above 0, as it has a "
            "logarithm. Drop `:log`, or raise the low end."
        )
    whole = all(isinstance(end, int) for end in ends)
    return Axis(key, first, last, log=bool(how), whole=whole)


def _accepted(recipe: Recipe, key: str, value: str, text: str) -> Value:
    """The value as the recipe reads it; refuses what the recipe refuses."""
    try:
        found: Any = recipes.changed(recipe, [f"{key}={value}"]).model_dump(mode="json")
    except ValueError as error:
        problem = str(error).splitlines()[0].removeprefix("recipe")
        raise ValueError(f"--range {text}: {problem.lstrip('.')}") from None
    for name in key.split("."):
        found = found[name]
    if isinstance(found, dict | list):
        raise ValueError(f"--range {text}: {key} is a group of settings; expected one setting.")
    value_found: Value = found
    return value_found


def _text(value: Value) -> str:
    """A value as YAML reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    key, _, span = text.partition("=")
    return f"`{key}: {span}`"
