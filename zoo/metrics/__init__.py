"""Measures of a whole split, on NumPy arrays: of classes, of calibration, of numbers.

What is averaged during training is a task's `measures`; here is what a report says.
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {
    "Bin": "zoo.metrics.calibration",
    "confusion_matrix": "zoo.metrics.classification",
    "expected_error": "zoo.metrics.calibration",
    "frechet_distance": "zoo.metrics.frechet",
    "mean_absolute_error": "zoo.metrics.regression",
    "mean_squared_error": "zoo.metrics.regression",
    "per_class": "zoo.metrics.classification",
    "precision_and_recall": "zoo.metrics.neighbours",
    "r2": "zoo.metrics.regression",
    "reliability": "zoo.metrics.calibration",
    "top_k_accuracy": "zoo.metrics.classification",
    "worst_error": "zoo.metrics.calibration",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
