"""The int8 TFLite file that every other integer target is made of.

One calibration, one rounding: what a microcontroller, ONNX Runtime and OpenVINO run are then the
same integers, and each is compared with this file first.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from export.examples import Arrays, draw_inputs
from export.formats.tflite.litert import open_file, quantisation
from export.target import Session, Source
from export.targets.tflite import FILE, TFLiteInt8

NUM_COMPARED = 16
ONE = {"scale": 1.0}  # of an output that is not of integers


def integers(source: Source, io: Literal["float32", "int8"] = "float32") -> bytes:
    """Returns the content of the int8 TFLite file.

    Args:
        source: With examples, or a model with ranges of its own.
        io: Type of its inputs and outputs.

    Raises:
        RuntimeError: The converter failed, or left a layer in float.
        ValueError: There are no examples to calibrate with.
    """
    target = TFLiteInt8(io=io)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / target.write(source, Path(scratch)).file
        if fault := target.fault(path):
            raise RuntimeError(f"export to {target.kind}: {fault}.")
        return Path(scratch, FILE).read_bytes()


def compared(source: Source, number: int) -> Arrays:
    """Returns the first examples (number, ...) by input name; drawn ones where there are none."""
    inputs: Arrays = source.calibration or draw_inputs(source.signature)
    return {name: array[:number] for name, array in inputs.items()}


def steps_apart(
    content: bytes, session: Session, source: Source, *, reference: bool = False
) -> int:
    """Returns how many steps of an int8 output a file differs at most from the TFLite file.

    Args:
        content: Of the TFLite file.
        session: The other file.
        source: With the examples to compare on; without any they are drawn.
        reference: Runs the TFLite file with the plain kernels (see `open_litert`).
    """
    few = compared(source, NUM_COMPARED)
    expected, got = open_file(content, reference=reference).run(few), session.run(few)
    known = quantisation(content)
    return max(
        round(float(np.abs(got[name] - expected[name]).max() / known.get(name, ONE)["scale"]))
        for name in expected
    )
