"""How near a model's answers are to those of the one that it was made of: SQNR, R2, the same top-1.

`zoo.common.noise` has the definitions. A warning goes by R2, which what all examples share does not
raise.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from compress.measure.report import Agreement
from zoo.common.noise import r2, sqnr_db

POOR_R2 = 0.97
"""Below it a warning is due: the error has about a thirtieth of the power of what varies.

Measured, calibrated alone: nets for the digits and for tables keep 0.9998 with 8 bits, 0.99 with 4,
and their accuracy. ImageNet's MobileNetV2 keeps 0.95 to 0.98 with 8, and four answers of seven; 0.4
to 0.6 with 4, and two of seven. One range over unlike columns leaves -0.3.
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
            found.append(Agreement(name, sqnr_db(want, got), r2(want, got), same))
    return tuple(found)


def told(found: Sequence[Agreement]) -> str:
    """Returns a line on agreements."""
    parts = [
        f"{one.output!r} {one.sqnr_db:.1f} dB, R2 {one.r2:.4g}"
        + ("" if one.same_top1 is None else f", same top-1 {one.same_top1:.1%}")
        for one in found
    ]
    return "agrees with the float model: " + "; ".join(parts) if parts else ""


def warn_if_poor(who: str, found: Sequence[Agreement], advice: str) -> None:
    """Logs a warning where an output has an R2 below `POOR_R2`."""
    poor = [one for one in found if one.r2 < POOR_R2]
    if poor:
        names = ", ".join(f"{one.output!r} {one.r2:.2g} ({one.sqnr_db:.1f} dB)" for one in poor)
        _LOG.warning(
            "%s: the result is far from the model that it was made of: R2 of %s on the samples; "
            "expected %g or more. %s",
            who,
            names,
            POOR_R2,
            advice,
        )
