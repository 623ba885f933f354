"""Measures of a whole split, on NumPy arrays: of classes, of calibration, of numbers.

What is averaged during training is a task's `measures`; here is what a report says.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Bin": "zoo.metrics.calibration",
    "confusion_matrix": "zoo.metrics.classification",
    "expected_error": "zoo.metrics.calibration",
    "frechet_distance": "zoo.metrics.frechet",
    "mean_absolute_error": "zoo.metrics.regression",
    "mean_squared_error": "zoo.metrics.regression",
    "per_class": "zoo.metrics.classification",
    "r2": "zoo.metrics.regression",
    "reliability": "zoo.metrics.calibration",
    "top_k_accuracy": "zoo.metrics.classification",
    "worst_error": "zoo.metrics.calibration",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'zoo.metrics' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
