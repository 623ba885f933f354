"""What is done for a changed network that nobody trains: examples without labels are enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from compress.graph.graph import inputs_of
from compress.graph.norms import moments, norms_in, restate
from compress.measure.account import LayerRow, total
from compress.measure.samples import answers, check_samples
from compress.passes.refit import Refit

MOST_BYTES = 2**31  # of what all layers give for the examples that are looked at
LEAST = 8  # examples
PART = 4  # one of so many judges, where that leaves enough


def recover(
    model: keras.Model,
    before: keras.Model,
    samples: Any,
    *,
    who: str,
    rows: Sequence[LayerRow],
    refits: bool = False,
) -> str:
    """Brings a changed network nearer to the one before, in place.

    The statistics of its batch normalisations are measured again, and where it is asked for, its
    kernels with new zeros are fitted. Of each what brings the answers nearer stays, on samples that
    nothing was fitted to where there are enough.

    Args:
        model: A network whose kernels have changed.
        before: What it was made of.
        samples: See `compress.Context`; as many of them are used as memory is there for.
        who: What an error line opens with.
        rows: Table of the network before.
        refits: Whether kernels are fitted.

    Returns:
        A line that says what was done; empty where there is nothing to do.

    Raises:
        ValueError: The samples do not fit.
    """
    if not (norms_in(model) or refits):
        return ""
    arrays = check_samples(samples, before, who=who)
    most = MOST_BYTES // max(1, total(rows).activation_bytes)
    if (count := min(len(arrays[0]), most)) < LEAST:
        return f"statistics stay: {count} samples are fewer than {LEAST}"
    apart = count // PART if count >= PART * LEAST else 0
    fitted = [array[: count - apart] for array in arrays]
    judged = [array[count - apart : count] if apart else array[:count] for array in arrays]
    want = answers(before, judged)
    best = old = _distance(want, answers(model, judged))
    if not old:
        return ""
    given = keras.tree.pack_sequence_as(inputs_of(before), fitted)
    shown = moments(before, given)
    start = kept = model.get_weights()
    told = "statistics and kernels stay: nothing brings the answers nearer"
    for refit in (None, Refit(before, given)) if refits else (None,):
        model.set_weights(start)
        moved = restate(model, before, shown, given, also=refit)
        fits = refit.count if refit else 0
        if not (moved or fits):
            continue
        new = _distance(want, answers(model, judged))
        if new < best:
            best, kept = new, model.get_weights()
            parts = [f"{fits} kernels fitted"] * bool(fits)
            parts += [f"statistics of {moved} normalisations measured again"] * bool(moved)
            told = (
                f"{' and '.join(parts)} on {len(fitted[0])} samples: squared error of the answers "
                f"{old:.3g} before, {new:.3g} after, as a share of theirs"
            )
    model.set_weights(kept)
    return told


def _distance(want: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Squared error as a share of the squares about their mean."""
    error = sum(float(np.sum((a - b) ** 2)) for a, b in zip(want, got, strict=True))
    size = sum(float(np.sum((a - a.mean(0)) ** 2)) for a in want)
    return error / max(size, 1e-30)
