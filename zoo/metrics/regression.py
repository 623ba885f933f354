"""Measures of numbers, in float64."""

from __future__ import annotations

import numpy as np


def mean_squared_error(targets: np.ndarray, guesses: np.ndarray) -> float:
    """Returns the mean squared error, in the square of the target's unit.

    Args:
        targets: (n,).
        guesses: (n,).
    """
    return float(np.mean(_errors(targets, guesses) ** 2))


def mean_absolute_error(targets: np.ndarray, guesses: np.ndarray) -> float:
    """Returns the mean magnitude of the error, in the target's unit.

    Args:
        targets: (n,).
        guesses: (n,).
    """
    return float(np.mean(np.abs(_errors(targets, guesses))))


def r2(targets: np.ndarray, guesses: np.ndarray) -> float:
    """Returns the share of the targets' variance that the guesses explain, at most 1.

    To guess the mean gives 0; worse than that is below 0. Targets without variance give 1 for
    guesses without error, else 0.

    Args:
        targets: (n,).
        guesses: (n,).
    """
    left = float(np.sum(_errors(targets, guesses) ** 2))
    spread = float(np.sum(_errors(targets, np.mean(targets, dtype="float64")) ** 2))
    return 1 - left / spread if spread else float(left == 0)


def _errors(targets: np.ndarray, guesses: np.ndarray | float) -> np.ndarray:
    """Errors (n,); shapes that would broadcast to (n, n) are refused."""
    errors = np.asarray(guesses, "float64") - np.asarray(targets, "float64")
    if errors.shape != np.shape(targets) or errors.ndim != 1:
        raise ValueError(
            f"got targets {np.shape(targets)} and guesses {np.shape(guesses)}; expected (n,) both."
        )
    return errors
