"""Triton: a model repository, with its configuration, batching and warm-up.

Source: Triton's model_config.proto. ONNX files run in Triton's `onnxruntime` backend; TFLite files
in its `python` backend, by the runtime of LiteRT, as Triton has none for them.
"""

from __future__ import annotations

from pathlib import Path

from export.manifest import TensorSpec
from serving.fleet import Model, copy
from serving.open_inference import DATATYPES

MOST_BATCH = 32
# Examples of a batch run one after another: a TFLite file holds one.
PYTHON = '''\
"""Runs {file} by LiteRT; made by `zoo deploy triton`."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from ai_edge_litert.interpreter import Interpreter


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        interpreter = Interpreter(str(folder / "{file}"), num_threads=1)
        interpreter.allocate_tensors()
        self.reset = interpreter.reset_all_variables
        self.run = interpreter.get_signature_runner("serving_default")
        self.inputs = [one["name"] for one in config["input"]]
        self.outputs = [one["name"] for one in config["output"]]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        given = {{
            name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in self.inputs
        }}
        rows = []
        for place in range(len(given[self.inputs[0]])):
            self.reset()
            rows.append(self.run(**{{name: x[place : place + 1] for name, x in given.items()}}))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(name, np.concatenate([row[name] for row in rows]))
                for name in self.outputs
            ]
        )
'''


def write(model: Model, out: Path) -> str:
    """See `fleet.Engine.write`: `NAME/config.pbtxt`, `NAME/1/`."""
    manifest = model.manifest
    folder = out / manifest.name
    if manifest.target.startswith("onnx") and "web" not in manifest.target:
        backend = 'backend: "onnxruntime"'
        file = "model.onnx"
        copy(model.path, folder / "1" / file)
    elif manifest.target.startswith("tflite"):
        backend, file = 'backend: "python"', model.path.name
        copy(model.path, folder / "1" / file)
        (folder / "1" / "model.py").write_text(PYTHON.format(file=file))
    else:
        raise ValueError(
            f"{model.directory}: target {manifest.target!r} is not written for Triton; expected "
            "onnx, onnx-int8, or one of tflite."
        )
    signature = manifest.signature
    free = backend.endswith('"python"') or signature.inputs[0].shape[0] is None
    parts = [f'name: "{manifest.name}"', backend, f"max_batch_size: {MOST_BATCH if free else 0}"]
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        parts.append(f"{kind} [\n" + ",\n".join(_tensor(spec, free) for spec in specs) + "\n]")
    if free:
        parts.append("dynamic_batching { max_queue_delay_microseconds: 500 }")
        parts.append(_warm_up(signature.inputs))
    (folder / "config.pbtxt").write_text("\n".join(parts) + "\n")
    return "tritonserver --model-repository . --model-control-mode poll"


def _tensor(spec: TensorSpec, free: bool) -> str:
    """A tensor; the batch is Triton's own where it may vary."""
    sizes = spec.shape[1:] if free else spec.shape
    dims = ", ".join("-1" if size is None else str(size) for size in sizes) or "1"
    reshape = " reshape { shape: [] }" if not sizes else ""
    kind = f"TYPE_{DATATYPES[spec.dtype]}"
    return f'  {{ name: "{spec.name}" data_type: {kind} dims: [ {dims} ]{reshape} }}'


def _warm_up(inputs: tuple[TensorSpec, ...]) -> str:
    """One run of zeros before the model counts as loaded; a size that may vary is 8."""
    told = []
    for spec in inputs:
        dims = ", ".join(str(size or 8) for size in spec.shape[1:]) or "1"
        told.append(
            f'    inputs {{ key: "{spec.name}" value: {{ data_type: TYPE_{DATATYPES[spec.dtype]} '
            f"dims: [ {dims} ] zero_data: true }} }}"
        )
    body = "\n".join(told)
    return f'model_warmup [ {{\n    name: "zeros" batch_size: 1\n{body}\n}} ]'
