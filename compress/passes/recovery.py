"""What is done for a changed network that nobody trains: examples without labels are enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from compress.graph.norms import norms_in, restate
from compress.measure.account import LayerRow, total
from compress.measure.samples import answers, check_samples

MOST_BYTES = 2**31  # of what all layers give for the examples that are looked at
LEAST = 8  # examples


def recover(
    model: keras.Model, before: keras.Model, samples: Any, *, who: str, rows: Sequence[LayerRow]
) -> str:
    """Measures the statistics of batch normalisations again, in place, where that helps.

    What helps is what brings the answers to the samples nearer to those of the network before.

    Args:
        model: A network whose kernels have changed.
        before: What it was made of.
        samples: See `compress.Context`; as many of them are used as memory is there for.
        who: What an error line opens with.
        rows: Table of the network before.

    Returns:
        A line that says what was done; empty where there is nothing to do.

    Raises:
        ValueError: The samples do not fit.
    """
    found = norms_in(model)
    if not found:
        return ""
    arrays = check_samples(samples, before, who=who)
    most = MOST_BYTES // max(1, total(rows).activation_bytes)
    if (count := min(len(arrays[0]), most)) < LEAST:
        return f"statistics stay: {count} samples are fewer than {LEAST}"
    arrays = [array[:count] for array in arrays]
    kept = [variable.numpy() for one in found.values() for variable in _statistics(one)]
    want = answers(before, arrays)
    old = _distance(want, answers(model, arrays))
    moved = restate(model, before, arrays)
    if not moved:
        return ""
    new = _distance(want, answers(model, arrays))
    if new < old:
        return (
            f"statistics of {moved} normalisations measured again on {count} samples: squared "
            f"error of the answers {old:.3g} before, {new:.3g} after, as a share of theirs"
        )
    variables = (variable for one in found.values() for variable in _statistics(one))
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)
    return "statistics stay: measured again they would not bring the answers nearer"


def _statistics(layer: keras.layers.BatchNormalization) -> tuple[keras.Variable, keras.Variable]:
    return layer.moving_mean, layer.moving_variance


def _distance(want: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Squared error as a share of the squares about their mean."""
    error = sum(float(np.sum((a - b) ** 2)) for a, b in zip(want, got, strict=True))
    size = sum(float(np.sum((a - a.mean(0)) ** 2)) for a in want)
    return error / max(size, 1e-30)
