"""OpenVINO on the CPU, for its own format.

On processors with AMX its default turns float32 into bfloat16; here float32 is pinned, as it was
when the file was compared with its model.
"""

from __future__ import annotations

import threading
from pathlib import Path

import openvino

from export.manifest import Signature
from serving.engines import Arrays, one_by_one

FILE = "model.xml"
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVINO:
    """One request of a compiled model behind a lock."""

    runtime = f"OpenVINO {openvino.__version__.partition('-')[0]}"
    alone = True

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        settings = {**SETTINGS, "INFERENCE_NUM_THREADS": num_threads}
        compiled = openvino.Core().compile_model(path / FILE, "CPU", settings)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        self.signature = signature
        self._outputs = [spec.name for spec in signature.outputs]
        self._one_by_one = any(spec.shape[0] == 1 for spec in signature.inputs)
        self.batches = not self._one_by_one

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the whole batch at once, if the file can."""
        return one_by_one(self._run, inputs) if self._one_by_one else self._run(inputs)

    def _run(self, inputs: Arrays) -> Arrays:
        with self._lock:
            found = self._request.infer(dict(inputs))
            return {name: found[name].copy() for name in self._outputs}
