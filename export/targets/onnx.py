"""ONNX: for ONNX Runtime on servers, desktops and in browsers; OpenVINO and TensorRT read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from export.examples import Arrays, one_example
from export.formats.onnx.runtime import count_nodes, node_times, open_onnx
from export.manifest import Signature
from export.target import LayerTime, Session, Source, Target, Written

FILE = "model.onnx"
FOLDER, DATA = "onnx", "model.data"  # of a model too large for one file


class ONNX(Target):
    """A float32 `.onnx` file with a free batch; name, labels and preprocessing are inside it.

    Attributes:
        opset: Version of the operators, for older runtimes. tf2onnx writes none newer than 18.
        layout: Layout of the images that go in: `nhwc` as in Keras, or `nchw` as in PyTorch.
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
    one_namespace: ClassVar[bool] = True

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
        return count_nodes(_file(path))

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


def _file(path: Path) -> Path:
    return path / FILE if path.is_dir() else path
