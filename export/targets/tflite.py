"""TFLite files for LiteRT: phones, microcontrollers, and CPUs through XNNPACK.

The batch is fixed at one: with a free batch recurrent layers become operators that no runtime from
PyPI has. Only built-in operators are allowed, for the same reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import export
from export.examples import Arrays, in_batches
from export.manifest import Signature, TensorSpec
from export.target import SIGNATURE, Source, Target, Tolerance

FILE = "model.tflite"

# The operators that hold nearly all of a network's weights and arithmetic.
_PRODUCTS = {
    "BATCH_MATMUL",
    "CONV_2D",
    "CONV_3D",
    "CONV_3D_TRANSPOSE",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
}


class _LiteRT(Target):
    """What both precisions share.

    Attributes:
        timeout_seconds: How long the converter may take.
    """

    timeout_seconds: float = 900.0

    runtime: ClassVar[str] = "ai-edge-litert"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")
    fixed_shape: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> str:
        """Writes `model.tflite`.

        Raises:
            RuntimeError: The converter failed, crashed or took too long.
        """
        from export.targets.saved_model import save

        with tempfile.TemporaryDirectory() as scratch:
            save(source, Path(scratch, "saved_model"), batch=1)
            for name, array in source.calibration.items():
                np.save(Path(scratch, f"{name}.npy"), array)
            self._convert(scratch, str((directory / FILE).absolute()), *self._options())
        return FILE

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with a batch of one."""
        return Signature(
            inputs=tuple(self._end(spec) for spec in signature.inputs),
            outputs=tuple(self._end(spec) for spec in signature.outputs),
        )

    def run(self, path: Path, inputs: Arrays) -> Arrays:
        """Runs the file on the CPU, one example at a time; scales the ends that are int8."""
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(model_path=str(path)).get_signature_runner(SIGNATURE)
        entries, exits = runner.get_input_details(), runner.get_output_details()

        def call(batch: Arrays) -> Arrays:
            outputs = runner(**{name: _to_file(batch[name], entries[name]) for name in batch})
            return {name: _from_file(array, exits[name]) for name, array in outputs.items()}

        return in_batches(call, inputs, size=1)

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operators of all subgraphs."""
        return dict(sorted(Counter(name for name, _ in _operators(path)).items()))

    def _options(self) -> tuple[str, ...]:
        return ()

    def _end(self, spec: TensorSpec) -> TensorSpec:
        return spec.model_copy(update={"shape": (1, *spec.shape[1:])})

    def _convert(self, *arguments: str) -> None:
        """Runs the converter in a process of its own: it may end in a segmentation fault."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "export.targets.convert", *arguments],
                cwd=Path(export.__file__).parents[1],
                capture_output=True,
                text=True,
                timeout=self.timeout_seconds,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"export to {self.kind}: the converter took more than {self.timeout_seconds:g} s."
                " Raise timeout_seconds, or export a smaller model."
            ) from None
        if done.returncode:
            error = RuntimeError(f"export to {self.kind}: the converter failed: {_cause(done)}.")
            error.add_note(done.stderr)
            raise error


class TFLite(_LiteRT):
    """A float32 `.tflite` file with a batch of one."""

    kind: Literal["tflite"] = "tflite"


class TFLiteInt8(_LiteRT):
    """A `.tflite` file whose weights and activations are int8, calibrated on examples.

    Attributes:
        io: Type of the inputs and outputs. Microcontrollers want `int8`; with `float32` the file
            itself converts at both ends and replaces the float file without a change in the caller.
    """

    kind: Literal["tflite-int8"] = "tflite-int8"
    io: Literal["float32", "int8"] = "float32"
    # Values beyond the calibrated range are clipped. On nets of 3 to 13 layers trained on digits,
    # with 32 to 400 examples to calibrate, the largest difference was 0.01 to 0.20 of the largest
    # output and the agreement 0.99 to 1. A tie is two classes within one step of an int8 output
    # that spans both signs: the file cannot tell them apart.
    tolerance: Tolerance = Tolerance(max_relative=0.5, min_top1_agreement=0.95, tie=2 / 255)

    precision: ClassVar[str] = "int8"
    calibrated: ClassVar[bool] = True

    def fault(self, path: Path) -> str:
        """Names the convolutions and dense layers that the converter left in float, in silence.

        A model with ranges of its own says itself which of its layers are integers.
        """
        if _has_own_ranges(path):
            return ""
        left = Counter(n for n, dtype in _operators(path) if n in _PRODUCTS and dtype == "FLOAT32")
        names = ", ".join(f"{name} ({count})" for name, count in sorted(left.items()))
        return f"operators stayed float32: {names}" if names else ""

    def _options(self) -> tuple[str, ...]:
        return "--int8", self.io

    def _end(self, spec: TensorSpec) -> TensorSpec:
        dtype = self.io if spec.dtype == "float32" else spec.dtype
        return super()._end(spec).model_copy(update={"dtype": dtype})


def _has_own_ranges(path: Path) -> bool:
    """Whether the ranges of a file are those of the model; the converter writes that down."""
    from ai_edge_litert import schema_py_generated as schema
    from tensorflow.lite.python import conversion_metadata_schema_py_generated as metadata

    model = schema.Model.GetRootAs(path.read_bytes())
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == b"CONVERSION_METADATA":
            content = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            options = metadata.ConversionMetadata.GetRootAs(content).Options()
            modes = map(
                options.ModelOptimizationModes, range(options.ModelOptimizationModesLength())
            )
            return metadata.ModelOptimizationMode.QUANTIZATION_AWARE_TRAINING in modes
    return False


def _operators(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the name and the output type of each operator, read from the flatbuffer."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    types = {value: name for name, value in vars(schema.TensorType).items()}
    model = schema.Model.GetRootAs(path.read_bytes())
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            # Codes below 127 are still written to the one-byte field of the first schema.
            name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            yield name, types[graph.Tensors(operator.Outputs(0)).Type()]


def _to_file(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Quantises: q = round(x / scale) + zero point, clipped. A float tensor has scale 0."""
    scale, zero_point = details["quantization"]
    if not scale:
        return array
    limits = np.iinfo(details["dtype"])
    steps = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
    return np.asarray(steps, details["dtype"])


def _from_file(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Dequantises: x = scale * (q - zero point)."""
    scale, zero_point = details["quantization"]
    return np.float32(scale) * (array.astype(np.float32) - zero_point) if scale else array


def _cause(done: subprocess.CompletedProcess[str]) -> str:
    """Finds the one line that says why in the converter's many."""
    if done.returncode < 0:
        return f"signal {-done.returncode} ended it; integer recurrent layers do that"
    if missing := re.findall(r"(?:Select|Custom) ops: (.+)", done.stderr):
        return f"TFLite has no built-in operator for {missing[-1].strip()}"
    # Of a place in the graph: the layer's own name, and what an operator did not bear.
    if found := re.search(r'fused\["\w+:", "([^"@]+).*?: error: (.+)', done.stderr):
        return f"{found[1]}: {found[2].strip().rstrip('.')}"
    errors = re.findall(r"^\S*Error: (.+)", done.stderr, flags=re.MULTILINE)
    return errors[-1].strip().rstrip(".") if errors else f"it ended with code {done.returncode}"
