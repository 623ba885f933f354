"""ONNX: for ONNX Runtime on servers, desktops and in browsers; OpenVINO and TensorRT read it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

from export.examples import Arrays, in_batches
from export.target import Source, Target

FILE = "model.onnx"


class ONNX(Target):
    """A float32 `.onnx` file with a free batch; name, labels and preprocessing are inside it."""

    kind: Literal["onnx"] = "onnx"

    runtime: ClassVar[str] = "onnxruntime"
    requires: ClassVar[tuple[str, ...]] = (
        "tensorflow",
        "tf2onnx",
        "onnx",
        "onnxslim",
        "onnxruntime",
    )

    def write(self, source: Source, directory: Path) -> str:
        """Writes `model.onnx`."""
        import onnx

        from export.targets.thin import to_onnx

        model = to_onnx(source.net, source.signature)
        onnx.helper.set_model_props(
            model,
            {
                "name": source.about.name,
                "labels": json.dumps(source.about.labels),
                "preprocessing": json.dumps(source.about.preprocessing),
            },
        )
        onnx.save(model, directory / FILE)
        return FILE

    def run(self, path: Path, inputs: Arrays) -> Arrays:
        """Runs the file in ONNX Runtime on the CPU."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return in_batches(
            lambda batch: dict(zip(names, session.run(names, dict(batch)), strict=True)), inputs
        )

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the nodes of the graph."""
        import onnx

        nodes = onnx.load(path, load_external_data=False).graph.node
        return dict(sorted(Counter(node.op_type for node in nodes).items()))
