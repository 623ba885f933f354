"""ONNX Runtime on the CPU. A file whose batch is one runs once for each example."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from export.manifest import Signature
from serving.engines import AnyBatch, Arrays, told


class OnnxRuntime(AnyBatch):
    """One session; ONNX Runtime lets several threads run it at once."""

    runtime = f"ONNX Runtime {onnxruntime.__version__}"
    alone = False

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        super().__init__(signature)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 4  # a failure is raised as well; do not print it twice
        file = path / "model.onnx" if path.is_dir() else path  # beside its weights, where large
        self._session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )

    def _run(self, inputs: Arrays) -> Arrays:
        try:
            found = self._session.run(self._outputs, inputs)
        except InvalidArgument as error:
            raise ValueError(told(self.runtime, error)) from error
        return dict(zip(self._outputs, found, strict=True))
