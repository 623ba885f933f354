"""ONNX: for ONNX Runtime on servers, desktops and in browsers; OpenVINO and TensorRT read it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from export.examples import Arrays, one_example
from export.manifest import Signature
from export.target import LayerTime, Session, Source, Target, Written

FILE = "model.onnx"
PROFILED = 20  # runs that the time of a node is the mean of
FOLDER, DATA = "onnx", "model.data"  # of a model too large for one file


class ONNX(Target):
    """A float32 `.onnx` file with a free batch; name, labels and preprocessing are inside it.

    Attributes:
        opset: Of the operators; what older runtimes want. tf2onnx writes none newer than 18.
        layout: Of the images that go in: `nhwc` as in Keras, or `nchw` as in PyTorch.
    """

    kind: Literal["onnx"] = "onnx"
    opset: int = Field(default=18, ge=13, le=18)
    layout: Literal["nhwc", "nchw"] = "nhwc"

    runtime: ClassVar[str] = "onnxruntime"
    requires: ClassVar[tuple[str, ...]] = (
        "tensorflow",
        "tf2onnx",
        "onnx",
        "onnxslim",
        "onnxruntime",
    )

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model.onnx`; beyond 1.9 GB the folder `onnx`, its weights in a second file."""
        import onnx

        from export.formats.onnx.convert import LARGEST, to_onnx

        pictures = self._pictures(source.signature)
        model = to_onnx(source.net, source.signature, opset=self.opset, nchw=pictures)
        describe(model, source)
        written, file = FILE, directory / FILE
        if external := model.ByteSize() > LARGEST:
            written, file = FOLDER, directory / FOLDER / FILE
            file.parent.mkdir()
        onnx.save(model, file, save_as_external_data=external, location=DATA)
        onnx.checker.check_model(file)  # by its path: in memory it is copied first
        return Written(written, {"opset": self.opset})

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the file in ONNX Runtime on the CPU; images are laid out as the file wants them."""
        session = open_onnx(_file(path), threads=threads)
        return Session(lambda inputs: session.call(self._turned(inputs)), precision="float32")

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the nodes of the graph."""
        return count(_file(path))

    def layers(self, path: Path, signature: Signature) -> list[LayerTime]:
        """Returns the time of each node, one thread, the mean of some runs."""
        return node_times(_file(path), self._turned(one_example(signature)))

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with images in the file's layout."""
        pictures = self._pictures(signature)
        inputs = tuple(
            spec.model_copy(update={"shape": (*spec.shape[:1], spec.shape[3], *spec.shape[1:3])})
            if spec.name in pictures
            else spec
            for spec in signature.inputs
        )
        return signature.model_copy(update={"inputs": inputs})

    def _turned(self, inputs: Arrays) -> Arrays:
        """The images of Keras' layout in the file's."""
        if self.layout == "nhwc":
            return inputs
        return {
            name: np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array
            for name, array in inputs.items()
        }

    def _pictures(self, signature: Signature) -> list[str]:
        if self.layout == "nhwc":
            return []
        return [spec.name for spec in signature.inputs if len(spec.shape) == 4]


def describe(model: Any, source: Source) -> None:
    """Writes name, labels, preprocessing and licence into an ONNX model."""
    import onnx

    about = source.about
    known = about.preprocessing
    onnx.helper.set_model_props(
        model,
        {
            "name": about.name,
            "labels": json.dumps(about.labels),
            "preprocessing": json.dumps(known.model_dump() if known else {}),
            "licence": about.licence,
        },
    )


def open_onnx(file: Path | bytes, *, threads: int | None = None) -> Session:
    """Opens a file in ONNX Runtime on the CPU.

    Args:
        file: The `.onnx` file, or its content.
        threads: Of one inference; `None` leaves it to the runtime.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    return Session(lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True)))


def node_times(path: Path, inputs: Arrays) -> list[LayerTime]:
    """Returns the seconds of each node, the mean of `PROFILED` runs on one thread.

    Args:
        path: The `.onnx` file.
        inputs: One example, as the file takes it.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch, "profile"))
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(PROFILED + 1):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    totals: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
            totals.setdefault(key, []).append(event["dur"] / 1e6)
    return [LayerTime(*key, sum(times[1:]) / PROFILED) for key, times in totals.items()]


def count(path: Path) -> dict[str, int]:
    """Counts the nodes of a file's graph."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


def _file(path: Path) -> Path:
    return path / FILE if path.is_dir() else path
