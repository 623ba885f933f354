"""How far another file of integers is from the int8 TFLite file that it was made of."""

from __future__ import annotations

import numpy as np

from export.examples import Arrays, draw_inputs
from export.formats.tflite.litert import open_file, quantisation
from export.target import Session, Source

NUM_COMPARED = 16
ONE = {"scale": 1.0}  # of an output that is not of integers


def compared(source: Source, number: int) -> Arrays:
    """Returns the first examples (number, ...) by input name; drawn ones where there are none."""
    inputs: Arrays = source.calibration or draw_inputs(source.signature)
    return {name: array[:number] for name, array in inputs.items()}


def steps_apart(
    content: bytes, session: Session, source: Source, *, reference: bool = False
) -> int:
    """Returns how many steps of an int8 output a file differs at most from the TFLite file.

    Args:
        content: Bytes of the TFLite file.
        session: The other file.
        source: With the examples to compare on; without any they are drawn.
        reference: Runs the TFLite file with the plain kernels (see `open_litert`).
    """
    few = compared(source, NUM_COMPARED)
    expected, got = open_file(content, reference=reference).run(few), session.run(few)
    known = quantisation(content)
    # Whole numbers and booleans have no steps: a winner that a step decides is another one.
    floats = [name for name, array in expected.items() if array.dtype.kind == "f"]
    return max(
        (
            round(float(np.abs(got[name] - expected[name]).max() / known.get(name, ONE)["scale"]))
            for name in floats
        ),
        default=0,
    )
