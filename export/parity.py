"""The numeric gate: a file is released only when its outputs follow the Keras model's.

Converters write wrong or unusable files without raising, so every export is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from export.examples import Arrays
from export.manifest import Distance, Parity
from export.target import Tolerance
from zoo.common.noise import sqnr_db

SLACK = 1e-4  # of an agreement: one pixel of a map whose scores tie


class ParityError(RuntimeError):
    """A file does not follow its Keras model; it is kept aside, never at the place asked for."""


def compare(
    expected: Arrays,
    got: Arrays,
    tolerance: Tolerance,
    *,
    scores: Collection[str] | None = None,
    **facts: Any,
) -> Parity:
    """Compares a file's outputs with the Keras model's, the worst output deciding.

    Top-1 agreement is for scores of classes, outputs of shape (n, k) with k > 1. Examples whose two
    best scores tie (see `Tolerance`) are not counted: rounding decides them, in Keras too. Outputs
    that are whole numbers, booleans or strings are the same or not: they have an agreement and,
    beside floats, no difference.

    Args:
        expected: The Keras model's outputs (n, ...) by name; none where no example was left.
        got: The file's outputs, likewise.
        tolerance: The limits.
        scores: Names of the outputs that are such; `None` where that is not known: all may be.
        **facts: The fields of `Parity` that say what was run: `runtime`, `inputs` and `left_out`.
    """
    limits: dict[str, Any] = {
        "samples": len(next(iter(expected.values()), ())),
        "max_relative": tolerance.max_relative,
        "min_cosine": tolerance.min_cosine,
        "min_top1_agreement": tolerance.min_top1_agreement,
        **facts,
    }
    if not limits["samples"]:
        return Parity(passed=True, **limits)
    if reason := _misfit(expected, got):
        return Parity(passed=False, reason=reason, **limits)
    found = _differences(expected, got, tolerance.tie, scores)
    compared = _compared(found)
    worst = max(compared, key=lambda name: found[name].relative)
    widest = min(compared, key=lambda name: found[name].cosine)
    counted = {name: one for name, one in found.items() if one.counted}
    least = min(counted, key=lambda name: counted[name].agreement, default=None)
    agreement = None if least is None else counted[least].agreement
    reason = ""
    strict = tolerance.max_relative is not None and not found[worst].discrete
    if strict and found[worst].relative > (tolerance.max_relative or 0):
        reason = (
            f"output {worst!r} differs by {found[worst].relative:.3g} of its largest value,"
            f" limit {tolerance.max_relative:g}"
        )
    elif not found[widest].discrete and found[widest].cosine < tolerance.min_cosine:
        reason = (
            f"output {widest!r} has cosine {found[widest].cosine:.6g} with the model's,"
            f" limit {tolerance.min_cosine:g}"
        )
    elif least is not None and found[least].agreement < tolerance.min_top1_agreement - SLACK:
        kind = f"output {least!r} has" if found[least].discrete else "top-1"
        reason = (
            f"{kind} agreement {agreement:.4g} over {found[least].counted}"
            f" {'values' if found[least].discrete else 'examples'},"
            f" limit {tolerance.min_top1_agreement:g}"
        )
    return Parity(
        max_abs=max(found[name].max_abs for name in compared),
        relative=found[worst].relative,
        cosine=found[widest].cosine,
        top1_agreement=agreement,
        top1_samples=sum(one.counted for one in counted.values()),
        passed=not reason,
        reason=reason,
        **limits,
    )


def measure(
    expected: Arrays, got: Arrays, *, of: str, tie: float, scores: Collection[str] | None = None
) -> Distance:
    """Returns how far a file's outputs are from those of a float model, the worst one deciding.

    Args:
        expected: The float model's outputs (n, ...) by name.
        got: The file's outputs, likewise.
        of: What the float model is called.
        tie: See `Tolerance.tie`.
        scores: See `compare`.
    """
    found = _differences(expected, got, tie, scores)
    compared = _compared(found)
    noise = [one.sqnr_db for name, one in found.items() if name in compared]
    agreements = [one.agreement for one in found.values() if one.counted]
    return Distance(
        of=of,
        samples=len(next(iter(expected.values()))),
        relative=max(found[name].relative for name in compared),
        sqnr_db=min((value for value in noise if value is not None), default=None),
        cosine=min(found[name].cosine for name in compared),
        top1_agreement=min(agreements, default=None),
    )


class _Difference(NamedTuple):
    """Of one output."""

    discrete: bool
    max_abs: float
    relative: float
    cosine: float
    sqnr_db: float | None
    counted: int
    agreement: float


def _differences(
    expected: Arrays, got: Arrays, tie: float, scores: Collection[str] | None
) -> dict[str, _Difference]:
    return {
        name: _difference(want, got[name], tie, scores is None or name in scores)
        for name, want in expected.items()
    }


def _compared(found: Mapping[str, _Difference]) -> list[str]:
    """The outputs whose differences are numbers: those of floats, if there are some."""
    return [name for name, one in found.items() if not one.discrete] or list(found)


def _difference(expected: Any, got: Any, tie: float, scores: bool) -> _Difference:
    discrete = expected.dtype.kind != "f"
    same = np.asarray(expected) == np.asarray(got)
    if expected.dtype.kind in "OSU":  # strings: as far apart as they are unlike
        expected, got = np.ones(same.shape), same
    want, found = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    error = np.abs(found - want)
    # An output that is zero everywhere has no scale of its own; its error is taken as it is.
    scale = float(np.abs(want).max()) or 1.0
    counted, agreeing = 0, 0
    if discrete:
        counted, agreeing = same.size, int(same.sum())
    elif scores and want.ndim == 2 and want.shape[1] > 1:  # (n, classes)
        best = np.sort(want, axis=1)[:, -2:]  # (n, 2), ascending
        clear = best[:, 1] - best[:, 0] > tie * float(np.abs(want).max())
        counted = int(clear.sum())
        agreeing = int((want.argmax(1) == found.argmax(1))[clear].sum())
    return _Difference(
        discrete=discrete,
        max_abs=float(error.max()),
        relative=float(error.max()) / scale,
        cosine=_cosine(want, found),
        sqnr_db=sqnr_db(want, found) if error.any() and want.any() else None,
        counted=counted,
        agreement=agreeing / counted if counted else 1.0,
    )


def _cosine(want: np.ndarray, got: Any) -> float:
    """Cosine between two arrays as vectors; of two that are zero 1, of one that is 0."""
    got = np.asarray(got, dtype=np.float64)
    norms = float(np.linalg.norm(want) * np.linalg.norm(got))
    if not norms:
        return float(np.array_equal(want, got))
    return float(np.clip(np.vdot(want, got) / norms, -1, 1))


def _misfit(expected: Arrays, got: Arrays) -> str:
    """Says why the outputs cannot be compared by value, or nothing."""
    if sorted(expected) != sorted(got):
        return f"the file has outputs {sorted(got)}, expected {sorted(expected)}"
    for name, want in expected.items():
        if want.shape != got[name].shape:
            return f"output {name!r} has shape {got[name].shape}, expected {want.shape}"
        if got[name].dtype.kind == "f" and not np.isfinite(got[name]).all():
            return f"output {name!r} of the file has NaN or infinite values"
    return ""
