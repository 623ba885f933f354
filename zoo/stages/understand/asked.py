"""What `zoo explain` is asked of layers and attacks, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.explain.methods import EPSILON, EXAMPLES, OPTIONS
from zoo.stages.understand.classifiers import Opened


class Asked(NamedTuple):
    """What is looked at.

    Attributes:
        method: A key of `LAYERS` or `ATTACKS`.
        picture: Picture file, where one is read.
        label: Class, by name or number.
        layer: Path of a layer; `None`: the last map, of filters the first convolution.
        unit: Unit of it.
        data: Data set by name; `None`: the bundle's.
        examples: How many of its test split.
        epsilon: Most that a pixel may change, in 255 levels.
        seed: Seed of what is drawn at random.
        beside: Further classifiers of equal inputs, for `robustness` and `transfer`.
    """

    method: str
    picture: Path | None = None
    label: str | int | None = None
    layer: str | None = None
    unit: int | None = None
    data: str | None = None
    examples: int = EXAMPLES
    epsilon: float = EPSILON
    seed: int = 0
    beside: Sequence[Opened] = ()

    def said(self) -> dict[str, Any]:
        """Returns what is not as usual, by the keys of `zoo.explain.methods.OPTIONS`."""
        usual = Asked(self.method)
        found = {name: getattr(self, name) for name in OPTIONS}
        return {name: value for name, value in found.items() if value != getattr(usual, name)}


class Looked(NamedTuple):
    """What was seen.

    Attributes:
        rows: What is printed.
        arrays: By name.
        sheet: All of it, drawn.
    """

    rows: list[dict[str, Any]]
    arrays: Mapping[str, np.ndarray]
    sheet: np.ndarray
