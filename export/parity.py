"""The numeric gate: a file is released only when its outputs follow the Keras model's.

Converters write wrong or unusable files without raising, so every export is compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.examples import Arrays
from export.manifest import Parity
from export.target import Tolerance


class ParityError(RuntimeError):
    """A file does not follow its Keras model; it is kept aside, never at the place asked for."""


def compare(expected: Arrays, got: Arrays, tolerance: Tolerance, **facts: Any) -> Parity:
    """Compares a file's outputs with the Keras model's, the worst output deciding.

    Top-1 agreement is for class scores, outputs of shape (n, k) with k > 1; others get the numeric
    check alone. Examples whose two best scores tie (see `Tolerance`) are not counted: rounding
    decides them, in Keras too.

    Args:
        expected: The Keras model's outputs (n, ...) by name.
        got: The file's outputs, likewise.
        tolerance: The limits.
        **facts: The fields of `Parity` that say what was run: `runtime` and `inputs`.
    """
    limits: dict[str, Any] = {
        "samples": len(next(iter(expected.values()))),
        "max_relative": tolerance.max_relative,
        "min_cosine": tolerance.min_cosine,
        "min_top1_agreement": tolerance.min_top1_agreement,
        **facts,
    }
    if reason := _misfit(expected, got):
        return Parity(passed=False, reason=reason, **limits)
    max_abs = {name: float(np.abs(got[name] - want).max()) for name, want in _floats(expected)}
    scale = {name: float(np.abs(want).max()) for name, want in _floats(expected)}
    # An output that is zero everywhere has no scale of its own; its error is taken as it is.
    relative = {name: max_abs[name] / (scale[name] or 1.0) for name in max_abs}
    cosines = {name: _cosine(want, got[name]) for name, want in _floats(expected)}
    counted, agreeing = 0, 0
    for name, want in _floats(expected):
        if want.ndim == 2 and want.shape[1] > 1:  # (n, classes)
            best = np.sort(want, axis=1)[:, -2:]  # (n, 2), ascending
            clear = best[:, 1] - best[:, 0] > tolerance.tie * scale[name]
            counted += int(clear.sum())
            agreeing += int((want.argmax(1) == got[name].argmax(1))[clear].sum())
    agreement = agreeing / counted if counted else None
    worst = max(relative, key=lambda name: relative[name])
    widest = min(cosines, key=lambda name: cosines[name])
    reason = ""
    if tolerance.max_relative is not None and relative[worst] > tolerance.max_relative:
        reason = (
            f"output {worst!r} differs by {relative[worst]:.3g} of its largest value,"
            f" limit {tolerance.max_relative:g}"
        )
    elif cosines[widest] < tolerance.min_cosine:
        reason = (
            f"output {widest!r} has cosine {cosines[widest]:.6g} with the model's,"
            f" limit {tolerance.min_cosine:g}"
        )
    elif agreement is not None and agreement < tolerance.min_top1_agreement:
        reason = (
            f"top-1 agreement {agreement:.4g} over {counted} examples,"
            f" limit {tolerance.min_top1_agreement:g}"
        )
    return Parity(
        max_abs=max(max_abs.values()),
        relative=relative[worst],
        cosine=cosines[widest],
        top1_agreement=agreement,
        top1_samples=counted,
        passed=not reason,
        reason=reason,
        **limits,
    )


def _cosine(want: np.ndarray, got: Any) -> float:
    """Cosine between two arrays as vectors; of two that are zero 1, of one that is 0."""
    got = np.asarray(got, dtype=np.float64)
    norms = float(np.linalg.norm(want) * np.linalg.norm(got))
    if not norms:
        return float(np.array_equal(want, got))
    return float(np.clip(np.vdot(want, got) / norms, -1, 1))


def _floats(arrays: Arrays) -> list[tuple[str, np.ndarray]]:
    return [(name, np.asarray(array, dtype=np.float64)) for name, array in arrays.items()]


def _misfit(expected: Arrays, got: Arrays) -> str:
    """Says why the outputs cannot be compared by value, or nothing."""
    if sorted(expected) != sorted(got):
        return f"the file has outputs {sorted(got)}, expected {sorted(expected)}"
    for name, want in expected.items():
        if not np.isfinite(want).all():
            return f"output {name!r} of the Keras model itself has NaN or infinite values"
        if want.shape != got[name].shape:
            return f"output {name!r} has shape {got[name].shape}, expected {want.shape}"
        if not np.isfinite(got[name]).all():
            return f"output {name!r} of the file has NaN or infinite values"
    return ""
