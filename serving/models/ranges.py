"""Numbers that an input's type holds and the model does not take: beyond a table, or its runtime.

Some runtimes answer them, with what the model never said.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.manifest import Manifest
from serving.engines import Arrays, Engine

Ranges = Mapping[str, tuple[int, int]]
_WIDE = ("int64", "uint32", "uint64")


def ranges_of(manifest: Manifest, engine: Engine) -> dict[str, tuple[int, int]]:
    """Returns the least and the greatest number of the inputs that do not take all of their type's.

    Args:
        manifest: What the deployable says of itself.
        engine: What runs it.
    """
    found = dict(manifest.ranges)
    ends = np.iinfo(np.int32)
    for spec in engine.signature.inputs:
        if engine.narrow and spec.dtype in _WIDE:
            low, high = found.get(spec.name, (ends.min, ends.max))
            low = max(low, 0) if spec.dtype.startswith("u") else low
            found[spec.name] = max(low, int(ends.min)), min(high, int(ends.max))
    return found


def check(inputs: Arrays, ranges: Ranges) -> None:
    """Refuses what an input does not take.

    Args:
        inputs: One array for each input, (batch, ...).
        ranges: What `ranges_of` returned.

    Raises:
        ValueError: A number is beyond the range of its input.
    """
    for name, (low, high) in ranges.items():
        array = inputs[name]
        bad = ~((array >= low) & (array <= high))  # NaN is neither
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"input {name!r}, example {place[0]}: got {array[place]}; expected numbers from "
                f"{low} to {high}: the model has no answer to others."
            )
