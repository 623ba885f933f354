"""Triton: a model repository, with its configuration, batching and warm-up.

Source: Triton's model_config.proto. ONNX files run in Triton's `onnxruntime` backend; TFLite files
in its `python` backend, by the runtime of LiteRT, as Triton has none for them. As in `zoo serve`, a
tensor that such a file quantises is float32 to the client.
"""

from __future__ import annotations

import json
from pathlib import Path

from export.manifest import Signature, TensorSpec
from serving.fleet import Deployable, copy, has_free_size
from serving.wire.dtypes import DTYPES

MOST_BATCH = 32
TFLITE, ONNX = "model.tflite", "model.onnx"
# Examples of a batch run one after another: a TFLite file holds one.
PYTHON = '''\
"""Runs the TFLite file beside it by LiteRT; made by `zoo deploy triton`."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from ai_edge_litert.interpreter import Interpreter


def stored(real, details):
    scale, zero = details["quantization"]
    if not scale:
        return real
    ends = np.iinfo(details["dtype"])
    steps = np.rint(real / scale) + zero
    return np.clip(steps, ends.min, ends.max).astype(details["dtype"])


def real(stored, details):
    scale, zero = details["quantization"]
    return np.float32((stored.astype(np.float32) - zero) * scale) if scale else stored


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        interpreter = Interpreter(str(folder / "model.tflite"), num_threads=1)
        interpreter.allocate_tensors()
        self.reset = interpreter.reset_all_variables
        self.run = interpreter.get_signature_runner("serving_default")
        self.inputs = self.run.get_input_details()
        self.outputs = self.run.get_output_details()
        config = json.loads(args["model_config"])
        self.names = [one["name"] for one in config["output"]]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        given = {
            name: stored(pb_utils.get_input_tensor_by_name(request, name).as_numpy(), details)
            for name, details in self.inputs.items()
        }
        rows = []
        for place in range(len(next(iter(given.values())))):
            self.reset()
            rows.append(self.run(**{name: x[place : place + 1] for name, x in given.items()}))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(
                    name, real(np.concatenate([row[name] for row in rows]), self.outputs[name])
                )
                for name in self.names
            ]
        )
'''


def write(model: Deployable, out: Path) -> str:
    """See `fleet.Writer.write`: `NAME/config.pbtxt`, `NAME/1/`."""
    manifest, signature = model.manifest, model.manifest.signature
    folder = out / manifest.name
    if manifest.target in ("onnx", "onnx-int8"):
        backend, file, free = "onnxruntime", ONNX, signature.inputs[0].shape[0] is None
    elif manifest.target.startswith("tflite"):
        backend, file, free = "python", TFLITE, True
        signature = _seen(model.path, signature)
    else:
        raise ValueError(
            f"{model.directory}: target {manifest.target!r} is not written for Triton; expected "
            "onnx, onnx-int8, or one of tflite."
        )
    copy(model.path, folder / "1" / file)
    if backend == "python":
        (folder / "1" / "model.py").write_text(PYTHON)
    parts = [
        f"name: {json.dumps(manifest.name)}",
        f'backend: "{backend}"',
        f"max_batch_size: {MOST_BATCH if free else 0}",
    ]
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        parts.append(f"{kind} [\n" + ",\n".join(_tensor(spec, free) for spec in specs) + "\n]")
    if free:
        if not has_free_size(manifest):
            parts.append("dynamic_batching { max_queue_delay_microseconds: 500 }")
        parts.append(_warm_up(signature.inputs))
    (folder / "config.pbtxt").write_text("\n".join(parts) + "\n")
    return "tritonserver --model-repository . --model-control-mode poll"


def _seen(path: Path, signature: Signature) -> Signature:
    """The tensors as a client sees them."""
    from serving.engines.litert import LiteRT

    return LiteRT(path, signature, num_threads=1).signature


def _tensor(spec: TensorSpec, free: bool) -> str:
    """A tensor; the batch is Triton's own where it may vary."""
    sizes = spec.shape[1:] if free else spec.shape
    dims = ", ".join("-1" if size is None else str(size) for size in sizes) or "1"
    reshape = " reshape { shape: [] }" if not sizes else ""
    kind = f"TYPE_{DTYPES[spec.dtype].open}"
    name = json.dumps(spec.name, ensure_ascii=False)
    return f"  {{ name: {name} data_type: {kind} dims: [ {dims} ]{reshape} }}"


def _warm_up(inputs: tuple[TensorSpec, ...]) -> str:
    """One run of zeros before the model counts as loaded; a size that may vary is 8."""
    told = []
    for spec in inputs:
        dims = ", ".join(str(size or 8) for size in spec.shape[1:]) or "1"
        key = json.dumps(spec.name, ensure_ascii=False)
        told.append(
            f"    inputs {{ key: {key} value: {{ data_type: TYPE_{DTYPES[spec.dtype].open} "
            f"dims: [ {dims} ] zero_data: true }} }}"
        )
    body = "\n".join(told)
    return f'model_warmup [ {{\n    name: "zeros" batch_size: 1\n{body}\n}} ]'
