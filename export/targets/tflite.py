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
from export.examples import Arrays
from export.manifest import Signature, TensorSpec
from export.target import INT8, SIGNATURE, Session, Source, Target, Tolerance, Written

FILE = "model.tflite"

_NAMES: dict[int, str] = {}  # of operators, by number

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
    """What all precisions share.

    Attributes:
        batch: Number of examples that a call takes; `None` for any, which recurrent layers and
            some delegates do not bear.
        timeout_seconds: How long the converter may take.
    """

    batch: Literal[1] | None = 1
    timeout_seconds: float = 900.0

    runtime: ClassVar[str] = "ai-edge-litert"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")
    fixed_shape: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model.tflite`, with labels and preprocessing inside where they are known.

        Raises:
            RuntimeError: The converter failed, crashed or took too long.
            ValueError: There are no examples to calibrate with.
        """
        from export.targets.metadata import embedded
        from export.targets.saved_model import save

        path = (directory / FILE).absolute()
        with tempfile.TemporaryDirectory() as scratch:
            save(source, Path(scratch, "saved_model"), batch=self.batch)
            for name, array in source.calibration.items():
                np.save(Path(scratch, f"{name}.npy"), array)
            self._convert(scratch, str(path), "--precision", self.precision, *self._options())
        path.write_bytes(embedded(path.read_bytes(), source))
        return Written(FILE)

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with the file's batch."""
        return Signature(
            inputs=tuple(self._end(spec) for spec in signature.inputs),
            outputs=tuple(self._end(spec) for spec in signature.outputs),
        )

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the file in LiteRT; scales the ends that are integers."""
        return open_litert(path.read_bytes(), batch=self.batch, threads=threads)

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operators of all subgraphs."""
        return dict(sorted(Counter(name for name, _ in _operators(path)).items()))

    def _options(self) -> tuple[str, ...]:
        return ()

    def _end(self, spec: TensorSpec) -> TensorSpec:
        return spec.model_copy(update={"shape": (self.batch, *spec.shape[1:])})

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
    """A `.tflite` file of float32."""

    kind: Literal["tflite"] = "tflite"


class TFLiteFloat16(_LiteRT):
    """Weights of float16, which the runtime turns into float32 when it loads the file."""

    kind: Literal["tflite-float16"] = "tflite-float16"
    # Each weight is off by 2^-12 of itself at most.
    tolerance: Tolerance = Tolerance(
        max_relative=0.02, min_cosine=0.9999, min_top1_agreement=0.99, tie=0.01, edges=0.05,
        max_drop=0.005,
    )  # fmt: skip

    precision: ClassVar[str] = "float16"


class TFLiteDynamic(_LiteRT):
    """Weights of int8; activations are floats, made int8 for each product as it runs."""

    kind: Literal["tflite-dynamic"] = "tflite-dynamic"
    tolerance: Tolerance = Tolerance(
        max_relative=0.25, min_cosine=0.99, min_top1_agreement=0.95, tie=2 / 255, max_drop=0.02
    )

    precision: ClassVar[str] = "dynamic"


class _Integers(_LiteRT):
    """A file of integers, calibrated on examples or by the model's own ranges."""

    tolerance: Tolerance = INT8

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


class TFLiteInt8(_Integers):
    """A `.tflite` file whose weights and activations are int8.

    Attributes:
        io: Type of the inputs and outputs. Microcontrollers want `int8`; with `float32` the file
            itself converts at both ends and replaces the float file without a change in the caller.
    """

    kind: Literal["tflite-int8"] = "tflite-int8"
    io: Literal["float32", "int8", "uint8"] = "float32"

    precision: ClassVar[str] = "int8"

    def _options(self) -> tuple[str, ...]:
        return "--io", self.io

    def _end(self, spec: TensorSpec) -> TensorSpec:
        dtype = self.io if spec.dtype == "float32" else spec.dtype
        return super()._end(spec).model_copy(update={"dtype": dtype})


class TFLiteInt16x8(_Integers):
    """Activations of int16 between weights of int8: where int8 loses too much."""

    kind: Literal["tflite-int16x8"] = "tflite-int16x8"
    tolerance: Tolerance = Tolerance(
        max_relative=0.25, min_cosine=0.99, min_top1_agreement=0.97, tie=2 / 255, max_drop=0.02
    )

    precision: ClassVar[str] = "int16x8"


class TFLiteInt4(_Integers):
    """Kernels of dense layers and convolutions in 4 bits, activations in int8.

    Attributes:
        keep: Names of layers whose kernels have 8 bits: the first and the last, as a rule.
    """

    kind: Literal["tflite-int4"] = "tflite-int4"
    # A kernel has fifteen values for each channel; what that costs is for `top1` to tell.
    tolerance: Tolerance = Tolerance(
        max_relative=None, min_cosine=0.9, min_top1_agreement=0.8, tie=2 / 255, max_drop=0.05
    )
    keep: tuple[str, ...] = ()

    precision: ClassVar[str] = "int4"
    requires: ClassVar[tuple[str, ...]] = (*_LiteRT.requires, "litert-quantizer")

    def _options(self) -> tuple[str, ...]:
        return "--keep", *self.keep


def open_litert(
    content: bytes,
    *,
    batch: int | None = 1,
    threads: int | None = None,
    reference: bool = False,
) -> Session:
    """Opens a `.tflite` file on the CPU; integer ends are scaled.

    Args:
        content: Of the file.
        batch: Number of examples that a call takes; `None` for any.
        threads: Of one inference; `None` leaves it to the runtime.
        reference: Takes the plain kernels, which round as TFLite-Micro's do, not XNNPACK's.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=content, num_threads=threads, experimental_op_resolver_type=kernels
    )
    runner = interpreter.get_signature_runner(SIGNATURE)
    entries, exits = runner.get_input_details(), runner.get_output_details()

    def call(inputs: Arrays) -> Arrays:
        outputs = runner(**{name: to_file(inputs[name], entries[name]) for name in inputs})
        return {name: from_file(array, exits[name]) for name, array in outputs.items()}

    return Session(call, batch=batch)


def output_scales(content: bytes) -> dict[str, float]:
    """Returns the scale of each output, by name; 0 of one that has floats.

    Of an output that a last operator turns into floats it is the scale of what that is given.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    made = {
        operator.Outputs(0): operator.Inputs(0)
        for operator in map(graph.Operators, range(graph.OperatorsLength()))
        if _name(model, operator) == "DEQUANTIZE"
    }

    def scale(place: int) -> float:
        known = graph.Tensors(made.get(place, place)).Quantization()
        return float(known.Scale(0)) if known and known.ScaleLength() else 0.0

    signature = model.SignatureDefs(0)
    entries = map(signature.Outputs, range(signature.OutputsLength()))
    return {entry.Name().decode(): scale(entry.TensorIndex()) for entry in entries}


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

    types = {value: name for name, value in vars(schema.TensorType).items()}
    model = schema.Model.GetRootAs(path.read_bytes())
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            yield _name(model, operator), types[graph.Tensors(operator.Outputs(0)).Type()]


def _name(model: Any, operator: Any) -> str:
    from ai_edge_litert import schema_py_generated as schema

    code = model.OperatorCodes(operator.OpcodeIndex())
    # Codes below 127 are still written to the one-byte field of the first schema.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return _NAMES.get(number) or _NAMES.setdefault(
        number, {value: name for name, value in vars(schema.BuiltinOperator).items()}[number]
    )


def to_file(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Quantises: q = round(x / scale) + zero point, clipped. A float tensor has scale 0."""
    scale, zero_point = details["quantization"]
    if not scale:
        return array
    limits = np.iinfo(details["dtype"])
    steps = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
    return np.asarray(steps, details["dtype"])


def from_file(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
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
