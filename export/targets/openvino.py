"""OpenVINO's own format, for Intel's processors: `model.xml` and `model.bin`.

On processors with AMX the runtime turns float32 into bfloat16 unless it is told not to; answers are
then off by 7 to 21 % (ResNet-50, MobileNetV2). Here float32 is pinned, and the manifest says so.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from export.examples import Arrays, one_example
from export.formats.tflite.agreement import steps_apart
from export.formats.tflite.litert import quantisation
from export.manifest import Signature
from export.target import INT8, LayerTime, Session, Source, Target, Tolerance, Written
from export.targets.tflite import TFLiteInt8
from zoo.common import signal_stack

FOLDER, FILE = "openvino", "model.xml"
FLOAT32_PINNED: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
PROFILED = 20  # runs that the time of an operation is the mean of
PRODUCTS = {"Convolution", "FullyConnected", "Deconvolution", "MatMul"}
INTEGERS = {"i8", "u8"}


class _OpenVINO(Target):
    """What both precisions share."""

    runtime: ClassVar[str] = "openvino"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "openvino")
    batch: ClassVar[int | None] = None
    one_namespace: ClassVar[bool] = True

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the file on the CPU, float32 pinned."""
        compiled = _compile(path, threads)
        names = [output.get_any_name() for output in compiled.outputs]
        request = compiled.create_infer_request()

        def call(batch: Arrays) -> Arrays:
            found = request.infer(dict(batch))
            return {name: found[name].copy() for name in names}

        found = {precision for name, precision in _executed(compiled) if name in PRODUCTS}
        return Session(call, batch=self.batch, precision=", ".join(sorted(found)))

    def layers(self, path: Path, signature: Signature) -> list[LayerTime]:
        """Returns the time of each operation as it runs, one thread, the mean of some runs."""
        compiled = _compile(path, 1, PERF_COUNT=True)
        request, inputs = compiled.create_infer_request(), one_example(signature)
        totals: dict[tuple[str, str], float] = {}
        for turn in range(PROFILED + 1):
            request.infer(inputs)
            for one in request.get_profiling_info() if turn else ():
                if seconds := one.real_time.total_seconds():
                    key = one.node_name, one.exec_type
                    totals[key] = totals.get(key, 0.0) + seconds / PROFILED
        return [LayerTime(*key, seconds) for key, seconds in totals.items()]

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operations of the file."""
        import openvino

        operations = openvino.Core().read_model(path / FILE).get_ops()
        names = Counter(one.get_type_name() for one in operations)
        return {name: names[name] for name in sorted(names) if name not in _ENDS}

    def _save(self, model: Any, source: Source, directory: Path) -> str:
        import openvino

        about = source.about
        known = about.preprocessing
        for key, value in {
            "labels": " ".join(label.replace(" ", "_") for label in about.labels),
            "scale": known and str(known.scale),
            "mean_values": known and " ".join(map(str, known.mean)),
            "scale_values": known and " ".join(map(str, known.std)),
            "licence": about.licence,
        }.items():
            if value:
                model.set_rt_info(value, ["model_info", key])
        _part_ends(model, source.passed_on)
        _double_ends(model, source.doubles)
        model.set_friendly_name(about.name)
        (directory / FOLDER).mkdir()
        openvino.save_model(model, directory / FOLDER / FILE, compress_to_fp16=False)
        return FOLDER


class OpenVINO(_OpenVINO):
    """Float32, with a free batch."""

    kind: Literal["openvino"] = "openvino"

    def write(self, source: Source, directory: Path) -> Written:
        """Writes the folder `openvino`, from a SavedModel: of a Keras model it loses the names."""
        import openvino

        from export.formats.saved_model.signatures import save

        with tempfile.TemporaryDirectory() as scratch:
            save(source, Path(scratch, "saved_model"), batch=None)
            model = openvino.Core().read_model(Path(scratch, "saved_model"))
            return Written(self._save(model, source, directory))


class OpenVINOInt8(_OpenVINO):
    """The int8 TFLite file in OpenVINO's format: the same integers."""

    kind: Literal["openvino-int8"] = "openvino-int8"
    tolerance: Tolerance = INT8

    precision: ClassVar[str] = "int8"
    requires: ClassVar[tuple[str, ...]] = (*_OpenVINO.requires, "ai-edge-litert")
    fixed_shape: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True
    batch: ClassVar[int | None] = 1

    def write(self, source: Source, directory: Path) -> Written:
        """Writes the folder `openvino`.

        OpenVINO keeps sums in float between its integer products, where TFLite rounds: outputs may
        be some steps apart, which the manifest tells.
        """
        import openvino

        content = TFLiteInt8(fused=False).content(source)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "model.tflite")
            path.write_bytes(content)
            name = self._save(openvino.Core().read_model(path), source, directory)
        steps = steps_apart(content, self.open(directory / name), source)
        done = Counter(
            "integer" if precision in INTEGERS else "float"
            for kind, precision in _executed(_compile(directory / name, None))
            if kind in PRODUCTS
        )
        facts = {"steps_from_tflite": steps, "products": dict(done)}
        return Written(name, {**facts, "quantisation": quantisation(content)})

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with a batch of one."""
        return signature.of_one()

    def fault(self, path: Path) -> str:
        """Tells when this processor computes no product in integers; some, it always does not."""
        executed = _executed(_compile(path, None))
        done = {precision for name, precision in executed if name in PRODUCTS}
        return "" if not done or INTEGERS & done else "no product is computed in integers"


def _part_ends(model: Any, passed: Mapping[str, str]) -> None:
    """Gives an input that goes out as it is two tensors, in place: one would have both names."""
    from openvino import opset13

    for result in model.get_results():
        tensor = result.input_value(0)
        out = next((name for name in passed if name in tensor.get_names()), "")
        if out and tensor.get_node().get_type_name() == "Parameter":
            same = opset13.concat([tensor], 0).output(0)
            tensor.set_names({passed[out]})
            same.set_names({out})
            result.input(0).replace_source_output(same)


def _double_ends(model: Any, doubles: Sequence[Sequence[str]]) -> None:
    """Gives outputs that are one tensor a tensor each, in place."""
    from openvino import opset13

    for names in doubles:
        results = [
            one for one in model.get_results() if set(names) & one.input_value(0).get_names()
        ]
        tensor = results[0].input_value(0)
        tensor.set_names(set())
        for result in results:
            model.remove_result(result)
        for name in names:
            same = opset13.concat([tensor], 0).output(0)
            same.set_names({name})
            model.add_results([opset13.result(same)])


_ENDS = {"Constant", "Parameter", "Result"}


def _compile(path: Path, threads: int | None, **more: Any) -> Any:
    import openvino

    settings = {**FLOAT32_PINNED, **more}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    with signal_stack.kept():
        return openvino.Core().compile_model(path / FILE, "CPU", settings)


def _executed(compiled: Any) -> list[tuple[str, str]]:
    """The operations as they run: kind, and precision of the arithmetic."""
    found = []
    for operation in compiled.get_runtime_model().get_ops():
        facts = operation.get_rt_info()
        found.append((str(facts["layerType"].value), str(facts["runtimePrecision"].value)))
    return found
