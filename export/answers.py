"""Examples with what Keras answers to them.

Examples on which Keras itself has no finite answer prove nothing. Of the user's they are an error;
of ours, drawn or at the edges, they are left out, and the manifest says which and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from export.examples import EDGES, Arrays
from export.failures import cause
from export.manifest import Signature
from export.source import run_keras


@dataclass(frozen=True)
class Examples:
    """Inputs (n, ...) by name, and what Keras answers.

    Attributes:
        origin: `given`, `random` or `edges`, as `Parity.inputs`.
        inputs: By input name.
        expected: By output name.
        left_out: Those that Keras has no finite answer to, with the reason.
    """

    origin: str
    inputs: Arrays
    expected: Arrays
    left_out: Mapping[str, str] = field(default_factory=dict)

    def at(self, places: Sequence[int]) -> Examples:
        """Returns the examples at some places, in their order."""
        inputs, expected = (
            {name: array[places] for name, array in arrays.items()}
            for arrays in (self.inputs, self.expected)
        )
        return Examples(self.origin, inputs, expected, self.left_out)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


def answered(net: keras.Model, signature: Signature, inputs: Arrays, *, origin: str) -> Examples:
    """Returns the examples that Keras has finite answers to, with them.

    Args:
        net: What `prepare` returned.
        signature: Likewise.
        inputs: Examples (n, ...) by input name.
        origin: See `Examples`.

    Raises:
        ValueError: Keras has none to one of the user's, or to any of ours but those at the edges.
    """
    total = len(next(iter(inputs.values())))
    expected, why = answers(net, signature, inputs)
    if not any(why):
        return Examples(origin, inputs, expected)
    bad = [place for place in range(total) if why[place]]
    if origin == "given":
        raise ValueError(
            f"export: samples: {why[bad[0]]} on {len(bad)} of {total} examples, the first at"
            f" {bad[0]}; expected examples that the model has finite answers to."
        )
    if origin == "random" and len(bad) == total:
        raise ValueError(
            f"export: {why[0]} on all {total} examples drawn at random. Pass `samples`, or look at"
            " the weights."
        )
    kept = [place for place in range(total) if not why[place]]
    names = EDGES if origin == "edges" else [f"drawn {place}" for place in range(total)]
    left_out = {names[place]: why[place] for place in bad}
    inputs = {name: array[kept] for name, array in inputs.items()}
    return Examples(origin, inputs, {n: array[kept] for n, array in expected.items()}, left_out)


def answers(net: keras.Model, signature: Signature, inputs: Arrays) -> tuple[Arrays, list[str]]:
    """Returns the answers of Keras, and for each example why there is none, or an empty string.

    Args:
        net: What `prepare` returned.
        signature: Likewise.
        inputs: Examples (n, ...) by input name.
    """
    total = len(next(iter(inputs.values())))
    try:
        expected = run_keras(net, signature, inputs)
    except Exception as error:  # of TensorFlow, or of a layer's own code
        if total == 1:
            return {}, [f"Keras itself fails ({cause(error)[:120]})"]
        rows = [
            answers(net, signature, {name: array[i : i + 1] for name, array in inputs.items()})
            for i in range(total)
        ]
        found = [row for row, _ in rows if row]
        if not found:
            return {}, [why for _, (why,) in rows]
        blank = {name: np.zeros_like(array) for name, array in found[0].items()}
        joined = {
            name: np.concatenate([row.get(name, blank[name]) for row, _ in rows])
            for name in found[0]
        }
        return joined, [why for _, (why,) in rows]
    why = [""] * total
    for name, array in expected.items():
        if array.dtype.kind != "f":
            continue
        finite = np.isfinite(array.reshape(total, -1)).all(axis=1)
        for place in np.flatnonzero(~finite):
            why[place] = f"output {name!r} of the Keras model itself has NaN or infinite values"
    return expected, why
