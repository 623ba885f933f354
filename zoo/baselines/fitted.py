"""What fitting a baseline gives, and how its setting is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from zoo.metrics.classification import top_k_accuracy

_T = TypeVar("_T")


def _nothing(images: np.ndarray) -> dict[str, float]:
    return {}


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline.

    Attributes:
        score: Gives scores (n, classes), the larger the likelier, of what it reads: pixels (n,
            height, width, channels), uint8, or tokens (n, time).
        settings: All settings, the chosen one among them.
        tried: Each value that was tried, with `top1` on the validation split.
        parameters: Numbers that were learnt or stored.
        measure: Gives what else is measured of the same, by name, beside how often they are right.
    """

    score: Callable[[np.ndarray], np.ndarray]
    settings: dict[str, Any]
    tried: tuple[dict[str, float], ...]
    parameters: int
    measure: Callable[[np.ndarray], dict[str, float]] = _nothing


def fit_best(
    name: str,
    values: Iterable[float],
    fit: Callable[[float], tuple[_T, np.ndarray]],
    labels: np.ndarray,
) -> tuple[_T, float, tuple[dict[str, float], ...]]:
    """Fits with each value of a setting, and keeps the best; of equals, the first.

    Args:
        name: The setting's.
        values: What to try.
        fit: Returns what was fitted, and its scores (n, classes) of the validation split.
        labels: Classes of the validation split, (n,).

    Returns:
        What was fitted, its value of the setting, and all that was tried.
    """
    tried, models = [], []
    for value in values:
        model, scores = fit(value)
        models.append(model)
        tried.append({name: value, "top1": top_k_accuracy(labels, scores, 1)})
    best = max(range(len(tried)), key=lambda index: tried[index]["top1"])
    return models[best], tried[best][name], tuple(tried)
