"""ONNX for browsers: the file of `onnx`, run by ONNX Runtime Web in WebAssembly."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from export.formats.web.node import WebTarget, open_in_node
from export.target import Session, Source, Written
from export.targets.onnx import FILE, ONNX


class ONNXWeb(WebTarget):
    """The file of `onnx` with its defaults, compared with the model where a browser would run it.

    A canvas holds its channels last, as the file wants them.
    """

    kind: Literal["onnx-web"] = "onnx-web"

    runtime: ClassVar[str] = "onnxruntime-web"
    requires: ClassVar[tuple[str, ...]] = ONNX.requires
    node_packages: ClassVar[tuple[str, ...]] = ("onnxruntime-web",)
    one_namespace: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model.onnx`.

        Raises:
            RuntimeError: The model is too large for one file.
        """
        written = ONNX().write(source, directory)
        if written.file != FILE:
            raise RuntimeError(
                f"export to {self.kind}: the weights take more than 1.9 GB; expected one file,"
                " which a browser's 4 GB can hold. Export a smaller model, or to onnx."
            )
        return written

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the file in ONNX Runtime Web, under Node."""
        return open_in_node("onnx", path, threads=threads)

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the nodes of the graph."""
        return ONNX().operators(path)
