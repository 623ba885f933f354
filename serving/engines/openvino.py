"""OpenVINO on the CPU, for its own format.

On processors with AMX its default turns float32 into bfloat16; here float32 is pinned, as it was
when the file was compared with its model.
"""

from __future__ import annotations

import threading
from pathlib import Path

import openvino

from export.manifest import Signature
from serving.engines import AnyBatch, Arrays
from zoo.common import signal_stack

FILE = "model.xml"
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVINO(AnyBatch):
    """One request of a compiled model behind a lock."""

    runtime = f"OpenVINO {openvino.__version__.partition('-')[0]}"
    alone = True
    narrow = True

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        super().__init__(signature)
        settings = {**SETTINGS, "INFERENCE_NUM_THREADS": num_threads}
        with signal_stack.kept():
            compiled = openvino.Core().compile_model(path / FILE, "CPU", settings)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    def _run(self, inputs: Arrays) -> Arrays:
        with self._lock:
            found = self._request.infer(dict(inputs))
            return {name: found[name].copy() for name in self._outputs}
