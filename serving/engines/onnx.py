"""ONNX Runtime on the CPU. The file's first dimension must be dynamic."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from export.manifest import Signature
from serving.engines import Arrays


class OnnxRuntime:
    """One session; ONNX Runtime lets several threads run it at once."""

    runtime = f"ONNX Runtime {onnxruntime.__version__}"

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 4  # a failure is raised as well; do not print it twice
        self.signature = signature
        self._outputs = [spec.name for spec in signature.outputs]
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the whole batch at once."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
