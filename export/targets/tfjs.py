"""TensorFlow.js graph models, for browsers.

The converter is `tensorflowjs`, last released for TensorFlow 2.18: what it requires besides pins
TensorFlow to older versions, and the conversion of a SavedModel uses none of it. So it is kept in a
folder of its own, `$ZOO_HOME/tfjs`, and read from there by the one process that converts.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from export import processes
from export.examples import Arrays
from export.formats.web.convert_tfjs import FILE
from export.formats.web.node import WebTarget, open_in_node
from export.manifest import Signature
from export.names import called
from export.target import Session, Source, Written
from zoo.common.home import home

FOLDER = "tfjs"
CONVERTER, VERSION = "tensorflowjs", "4.22.0"


class TFJS(WebTarget):
    """A folder with `model.json` and its weights, float32 and with a free batch.

    Attributes:
        timeout_seconds: How long the converter may take.
    """

    kind: Literal["tfjs"] = "tfjs"
    timeout_seconds: float = 900.0

    runtime: ClassVar[str] = "@tensorflow/tfjs"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow",)
    node_packages: ClassVar[tuple[str, ...]] = (
        "@tensorflow/tfjs",
        "@tensorflow/tfjs-backend-wasm",
    )

    def check_packages(self) -> None:
        """Raises an error that names what to install, before any work is done.

        Raises:
            ModuleNotFoundError: Node, a package of it, the converter or a distribution is missing.
        """
        super().check_packages()
        if not (packages() / CONVERTER).is_dir():
            raise ModuleNotFoundError(
                f"export to {self.kind}: {CONVERTER} not found in {packages()}. Run:"
                f" pip install --no-deps --target {packages()} {CONVERTER}=={VERSION}",
                name=CONVERTER,
            )

    def versions(self) -> dict[str, str]:
        """Returns the versions of what writes and runs the file, by name."""
        (found,) = packages().glob(f"{CONVERTER}-*.dist-info")
        return {**super().versions(), CONVERTER: found.stem.removeprefix(f"{CONVERTER}-")}

    def write(self, source: Source, directory: Path) -> Written:
        """Writes the folder `tfjs`.

        Raises:
            RuntimeError: The model has a layer that TensorFlow.js cannot run; or the converter
                failed or took too long.
        """
        from export.formats.saved_model.signatures import save
        from export.source import refuse_loops

        refuse_loops(source.net, self.kind, "TensorFlow.js finds no way through it")
        for layer in source.net._flatten_layers(include_self=False):
            if getattr(layer, "groups", 1) > 1 and "Conv" in type(layer).__name__:
                raise RuntimeError(
                    f"export to {self.kind}: layer {called(layer)!r} has {layer.groups} groups;"
                    " TensorFlow.js has no grouped convolution. Export to onnx-web."
                )
        with tempfile.TemporaryDirectory() as scratch:
            save(source, Path(scratch), batch=None)
            self._convert(scratch, str((directory / FOLDER).absolute()), str(packages()))
        return Written(FOLDER)

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the folder in TensorFlow.js, under Node.

        Its kernels are WebAssembly, or JavaScript where one of those that it needs is missing.
        """
        session = open_in_node("tfjs", path, threads=threads)

        def call(inputs: Arrays) -> Arrays:
            narrowed = {
                name: array.astype(_web_dtype(array.dtype.name), copy=False)
                for name, array in inputs.items()
            }
            return session.call(narrowed)

        return Session(call, precision=session.precision)

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operations of the graph and of its functions, constants left out."""
        topology = json.loads((path / FILE).read_text())["modelTopology"]
        functions = topology.get("library", {}).get("function", [])
        nodes = [topology["node"], *(one.get("nodeDef", []) for one in functions)]
        counted = Counter(node["op"] for part in nodes for node in part)
        del counted["Const"], counted["Placeholder"]
        return dict(sorted(counted.items()))

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature in the types of TensorFlow.js: it has one width of each."""
        inputs, outputs = (
            tuple(spec.model_copy(update={"dtype": _web_dtype(spec.dtype)}) for spec in specs)
            for specs in (signature.inputs, signature.outputs)
        )
        return Signature(inputs=inputs, outputs=outputs)

    def _convert(self, *arguments: str) -> None:
        done = processes.run(
            "export.formats.web.convert_tfjs",
            *arguments,
            who=f"export to {self.kind}: the converter",
            seconds=self.timeout_seconds,
        )
        if done.returncode:
            errors = re.findall(r"^\S*Error: (.+(?:\n\w.*)?)", done.stderr, flags=re.MULTILINE)
            cause = " ".join(errors[-1].split()) if errors else f"code {done.returncode}"
            error = RuntimeError(f"export to {self.kind}: the converter failed: {cause}.")
            error.add_note(done.stderr)
            raise error


def _web_dtype(dtype: str) -> str:
    kind = np.dtype(dtype).kind
    return {"i": "int32", "u": "int32", "f": "float32"}.get(kind, dtype)


def packages() -> Path:
    """Returns the folder of the converter; it need not exist."""
    return home() / "tfjs"
