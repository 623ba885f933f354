"""The int8 TFLite file as ONNX, integer by integer.

tf2onnx writes its activations as int8, for which ONNX Runtime on x86 has half of the kernels; moved
by 128 they are uint8, and nothing else changes.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

from export.examples import one_by_one, one_example
from export.formats.onnx import lockstep
from export.formats.onnx.mending import (
    double_ends,
    mend_transposed,
    part_ends,
    shift_to_uint8,
    silent,
)
from export.formats.onnx.runtime import count_nodes, node_times, open_onnx
from export.formats.tflite.agreement import compared, steps_apart
from export.formats.tflite.litert import quantisation
from export.manifest import Signature
from export.target import INT8, LayerTime, Session, Source, Target, Tolerance, Written
from export.targets.onnx import FILE, ONNX, describe
from export.targets.tflite import TFLiteInt8

OPSET = 18
PRODUCTS = {"Conv", "Gemm", "MatMul"}
NUM_LOCKSTEP = 4  # examples that every operator is compared on
NEVER = "ConvTranspose"  # ONNX Runtime has no integer kernel of it; it computes these in float
NEEDS = "the model has a layer that ONNX Runtime has no integer kernel for"


class ONNXInt8(Target):
    """An `.onnx` file of integers, with the calibration or the ranges of the int8 TFLite file."""

    kind: Literal["onnx-int8"] = "onnx-int8"
    tolerance: Tolerance = INT8

    precision: ClassVar[str] = "int8"
    runtime: ClassVar[str] = "onnxruntime"
    requires: ClassVar[tuple[str, ...]] = (*ONNX.requires, "ai-edge-litert")
    fixed_shape: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True
    one_namespace: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model.onnx`.

        Where the TFLite file has an operator that ONNX has not, ONNX Runtime's own quantiser writes
        it, on the same examples.

        Raises:
            RuntimeError: Given the same integers, an operator is more than a step from that of the
                TFLite file.
        """
        import onnx

        content = TFLiteInt8(fused=False).content(source)
        model = _converted(content, source)
        if foreign := sorted({n.op_type for n in model.graph.node if n.op_type.startswith("TFL_")}):
            quantise(source, directory / FILE)
            return Written(FILE, {"quantiser": "onnxruntime", "without": foreign, "opset": OPSET})
        describe(model, source)
        onnx.checker.check_model(model)
        path = directory / FILE
        onnx.save(model, path)
        steps = steps_apart(content, self.open(path), source)
        facts: dict[str, Any] = {
            "opset": OPSET,
            "steps_from_tflite": steps,
            "quantisation": quantisation(content),
        }
        if steps > 1:
            # Fifty operators in a row may add up their roundings; no single one may be off by more.
            examples = one_by_one(compared(source, NUM_LOCKSTEP))
            worst, name = lockstep.farthest(content, model, examples)
            facts["steps_of_an_operator"] = worst
            if worst > 1:
                raise RuntimeError(
                    f"export to {self.kind}: the operator of {name!r} is {worst} steps of int8 from"
                    " that of the TFLite file; expected 1 at most. Export to tflite-int8 instead."
                )
        floats = count_nodes(path).get(NEVER, 0)
        return Written(FILE, {**facts, "float_nodes": {NEVER: floats}} if floats else facts)

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the file in ONNX Runtime on the CPU, an example at a time."""
        session = open_onnx(path, threads=threads)
        return Session(session.call, batch=1, precision="int8")

    def layers(self, path: Path, signature: Signature) -> list[LayerTime]:
        """Returns the time of each node, one thread, the mean of some runs."""
        return node_times(path, one_example(signature))

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with a batch of one."""
        return signature.of_one()

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the nodes of the graph as ONNX Runtime runs it, after its optimisation."""
        import onnxruntime

        with tempfile.TemporaryDirectory() as scratch:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            options.graph_optimization_level = level
            options.optimized_model_filepath = str(Path(scratch, FILE))
            onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            return count_nodes(Path(scratch, FILE))

    def fault(self, path: Path) -> str:
        """Names the products that ONNX Runtime computes in float."""
        left = Counter({n: k for n, k in self.operators(path).items() if n in PRODUCTS})
        names = ", ".join(f"{name} ({number})" for name, number in sorted(left.items()))
        return f"nodes stayed float32: {names}; {NEEDS}" if names else ""


def _converted(content: bytes, source: Source) -> Any:
    from tf2onnx import convert, handler

    handler.tfl_op(["TFL_FULLY_CONNECTED"])(_FullyConnected)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "model.tflite")
        path.write_bytes(content)
        with silent():  # what it lacks is seen in the graph
            model, _ = convert.from_tflite(str(path), opset=OPSET)
    part_ends(model, source.passed_on)
    double_ends(model, source.doubles)
    mend_transposed(model)
    shift_to_uint8(model)
    return model


class _FullyConnected:
    """tf2onnx's conversion, with the bias that it loses where the input is not (batch, units)."""

    @classmethod
    def to_tf(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
        from tf2onnx.tflite_handlers.tfl_math import TflFullyConnectedOp

        biases = node.input[2:]
        TflFullyConnectedOp.to_tf(ctx, node, **kwargs)
        readers = ctx.find_output_consumers(node.output[0])
        for bias in biases:
            if not any(bias in reader.input for reader in readers):
                end = node.output[0]
                ctx.insert_new_node_on_output("Add", end, inputs=[end, bias]).skip_conversion = True


def quantise(source: Source, path: Path) -> None:
    """Writes an `.onnx` file of integers by ONNX Runtime's quantiser.

    Args:
        source: With examples to calibrate on.
        path: Path of the file.

    Raises:
        ValueError: There are no examples.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from export.formats.onnx.convert import to_onnx

    if not source.calibration:
        raise ValueError("no examples to calibrate with; pass `samples`, or --samples FILE.npy")

    class Rows(CalibrationDataReader):
        def __init__(self) -> None:
            self._rows = iter(one_by_one(source.calibration))

        def get_next(self) -> Any:
            return next(self._rows, None)

    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch, "float.onnx")
        model = to_onnx(source.net, source.signature, opset=OPSET)
        describe(model, source)
        onnx.save(model, plain)
        # Where it fails, symbolic inference leaves a file in the caller's directory; the operators
        # are ONNX's own, of which ONNX infers the shapes.
        quant_pre_process(plain, plain, skip_symbolic_shape=True)
        quantize_static(
            plain,
            path,
            Rows(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
