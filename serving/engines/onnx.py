"""ONNX Runtime on the CPU. A file whose batch is one runs once for each example."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from export.manifest import Signature
from serving.engines import Arrays, one_by_one, one_line


class OnnxRuntime:
    """One session; ONNX Runtime lets several threads run it at once."""

    runtime = f"ONNX Runtime {onnxruntime.__version__}"
    alone = False

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 4  # a failure is raised as well; do not print it twice
        self.signature = signature
        self._outputs = [spec.name for spec in signature.outputs]
        file = path / "model.onnx" if path.is_dir() else path  # beside its weights, where large
        self._session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        self._one_by_one = any(spec.shape[0] == 1 for spec in signature.inputs)
        self.batches = not self._one_by_one

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the whole batch at once, if the file can."""
        if not self._one_by_one:
            return self._run(inputs)
        return one_by_one(self._run, inputs)

    def _run(self, inputs: Arrays) -> Arrays:
        try:
            found = self._session.run(self._outputs, inputs)
        except InvalidArgument as error:
            raise ValueError(f"{self.runtime}: {one_line(error)}") from error
        return dict(zip(self._outputs, found, strict=True))
