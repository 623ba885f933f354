"""TFLite files for LiteRT: phones, microcontrollers, and CPUs through XNNPACK.

The batch is fixed at one: with a free batch recurrent layers become operators that no runtime from
PyPI has. Only built-in operators are allowed, for the same reason.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from export.examples import Arrays, in_batches
from export.manifest import Signature, TensorSpec
from export.target import Source, Target, Tolerance

FILE = "model.tflite"
SIGNATURE = "serving_default"
_MULTIPLIES = ("BATCH_MATMUL", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
               "TRANSPOSE_CONV")


class TFLite(Target):
    """A float32 `.tflite` file.

    Attributes:
        timeout_seconds: How long the converter may take.
    """

    kind: Literal["tflite"] = "tflite"
    timeout_seconds: int = 900

    runtime: ClassVar[str] = "ai-edge-litert"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")
    fixed_shape: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> str:
        """Writes `model.tflite`.

        Raises:
            RuntimeError: The converter failed, crashed, or took too long.
        """
        convert(source, directory / FILE, options=(), timeout_seconds=self.timeout_seconds)
        return FILE

    def run(self, path: Path, inputs: Arrays) -> Arrays:
        """Runs the file one example at a time, on the CPU."""
        runner = interpreter(path).get_signature_runner(SIGNATURE)
        ...
