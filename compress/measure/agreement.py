"""How near a model's answers are to those of the one that it was made of.

    SQNR = 10 log10( sum (y - mean y)^2 / sum (y' - y)^2 ) dB

over the examples, y from the parent, each number's mean over the examples taken off: what all
examples share tells nothing. An SQNR of s is an R2 of 1 - 10^(-s / 10): 20 dB is 0.99, 15 dB 0.97.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from compress.measure.report import Agreement

POOR_DB = 15.0
"""Below it a warning is due: the error has more than a thirtieth of the signal's power.

Measured, calibrated alone: nets for the digits and for tables keep 37 to 40 dB with 8 bits, 19 to
20 with 4, and their accuracy. ImageNet's MobileNetV2 keeps 13 to 17 with 8, and four answers of
seven; 2 to 4 with 4, and two of seven. One range over unlike columns leaves -1.
"""

_LOG = logging.getLogger("compress")


def agreements(
    names: Sequence[str], parent: Sequence[np.ndarray], child: Sequence[np.ndarray]
) -> tuple[Agreement, ...]:
    """Compares two models' answers, output by output.

    Args:
        names: Of the outputs.
        parent: (n, ...) for each output.
        child: Likewise.
    """
    found = []
    for name, want, got in zip(names, parent, child, strict=True):
        if want.dtype.kind == "f" or want.dtype.name == "bfloat16":
            want, got = want.astype("float64"), got.astype("float64")
            classes = want.ndim == 2 and want.shape[1] > 1
            same = float(np.mean(want.argmax(1) == got.argmax(1))) if classes else None
            found.append(Agreement(name, _sqnr(want, got), same))
    return tuple(found)


def told(found: Sequence[Agreement]) -> str:
    """Returns a line on agreements."""
    parts = [
        f"{one.output!r} {one.sqnr_db:.1f} dB"
        + ("" if one.same_top1 is None else f", same top-1 {one.same_top1:.1%}")
        for one in found
    ]
    return "agrees with the float model: " + "; ".join(parts) if parts else ""


def warn_if_poor(who: str, found: Sequence[Agreement], advice: str) -> None:
    """Logs a warning where an output has an SQNR below `POOR_DB`."""
    poor = [one for one in found if one.sqnr_db < POOR_DB]
    if poor:
        names = ", ".join(f"{one.output!r} {one.sqnr_db:.1f} dB" for one in poor)
        _LOG.warning(
            "%s: the result is far from the model that it was made of: SQNR of %s on the samples; "
            "expected %g dB or more. %s",
            who,
            names,
            POOR_DB,
            advice,
        )


def _sqnr(want: np.ndarray, got: np.ndarray) -> float:
    """In dB; at most 200, at least -200."""
    signal = np.square(want - want.mean(axis=0)).sum()
    signal = signal or np.square(want).sum()  # one example, or the same answer to all
    noise = np.square(got - want).sum()
    if not noise:
        return 200.0
    if not np.isfinite(noise) or not signal:
        return -200.0
    return float(np.clip(10 * np.log10(signal / noise), -200, 200))
