"""Node: what a browser runs, run here.

Its packages are none of Python's. They live in a folder of their own: `$ZOO_NODE_MODULES`, or
`$ZOO_HOME/node/node_modules`, by default `~/.cache/zoo/node/node_modules`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, ClassVar, Literal, cast

import numpy as np

from export.examples import Arrays, in_batches
from export.manifest import Signature
from export.target import Session, Target
from zoo.common.home import home

SCRIPT = Path(__file__).with_name("node.cjs")
BATCH = 8  # examples in a call: a WebAssembly program has 4 GB at most
SECONDS_TO_END = 5.0


def modules() -> Path:
    """Returns the folder of the node packages; it need not exist."""
    return Path(os.environ.get("ZOO_NODE_MODULES") or home() / "node" / "node_modules")


class WebTarget(Target):
    """A target whose file runs in browsers, and here in Node.

    Attributes:
        node_packages: What running needs; `runtime` is one of them.
    """

    node_packages: ClassVar[tuple[str, ...]]

    def check_packages(self) -> None:
        """Raises an error that names what to install, before any work is done.

        Raises:
            ModuleNotFoundError: Node, a package of it or a distribution is missing.
        """
        super().check_packages()
        if not shutil.which("node"):
            raise ModuleNotFoundError(
                f"export to {self.kind}: `node` not found. Install Node.js 18 or newer, then run:"
                f" {_install(self.node_packages)}",
                name="node",
            )
        missing = [name for name in self.node_packages if not _manifest(name).is_file()]
        if missing:
            raise ModuleNotFoundError(
                f"export to {self.kind}: {' '.join(missing)} not found in {modules()}. Run:"
                f" {_install(missing)}",
                name=missing[0],
            )

    def check_signature(self, signature: Signature) -> None:
        """Refuses inputs that the file format cannot hold.

        Raises:
            ValueError: An input is of strings, which do not travel to Node.
        """
        super().check_signature(signature)
        for spec in signature.inputs:
            if spec.dtype == "string":
                raise ValueError(
                    f"export to {self.kind}: input {spec.name!r} is of strings; expected numbers."
                    " Look them up outside of the model."
                )

    def versions(self) -> dict[str, str]:
        """Returns the versions of what writes and runs the file, by name."""
        node = {
            name: str(json.loads(_manifest(name).read_text())["version"])
            for name in self.node_packages
        }
        return {**super().versions(), **node}


def open_in_node(
    engine: Literal["onnx", "tfjs"], path: Path, *, threads: int | None = None
) -> Session:
    """Opens a file in a Node process, which ends with the session.

    Args:
        engine: What runs it: ONNX Runtime Web or TensorFlow.js, both in WebAssembly.
        path: The file or folder.
        threads: Threads of one inference; `None` leaves it to the runtime.

    Raises:
        RuntimeError: The runtime cannot open the file.
    """
    node = _Node(engine, path, threads)
    return Session(partial(in_batches, node, size=BATCH), precision="float32")


class _Node:
    """A process that holds one model; called, it runs the model.

    The first answer says whether the model is open; each further one is to a request.
    """

    def __init__(self, engine: str, path: Path, threads: int | None):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it outlives this call
        self._process = subprocess.Popen(
            ["node", str(SCRIPT), engine, str(path), str(threads or 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "NODE_PATH": str(modules())},
        )
        weakref.finalize(self, _end, self._process, self._errors)
        self._receive()

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Returns the outputs (n, ...) by name.

        Raises:
            RuntimeError: The model does not run, or the process ended.
        """
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        tensors = [
            {"name": name, "dtype": array.dtype.name, "shape": array.shape}
            for name, array in arrays.items()
        ]
        header = json.dumps({"tensors": tensors}).encode()
        parts = (struct.pack("<I", len(header)), header, *(a.tobytes() for a in arrays.values()))
        pipe = cast(IO[bytes], self._process.stdin)
        try:
            for part in parts:
                pipe.write(part)
            pipe.flush()
        except BrokenPipeError:
            raise RuntimeError(f"node: {self._last_words()}") from None
        return self._receive()

    def _receive(self) -> dict[str, np.ndarray]:
        (size,) = struct.unpack("<I", self._read(4))
        answer = json.loads(self._read(size))
        if "error" in answer:
            raise RuntimeError(f"node: {answer['error']}")
        return {one["name"]: self._array(**one) for one in answer["tensors"]}

    def _array(self, *, name: str, dtype: str, shape: list[int]) -> np.ndarray:
        kind = np.dtype(dtype)
        content = self._read(int(np.prod(shape)) * kind.itemsize)
        return np.frombuffer(content, kind).reshape(shape)

    def _read(self, size: int) -> bytes:
        content = cast(IO[bytes], self._process.stdout).read(size)
        if len(content) < size:
            raise RuntimeError(f"node: {self._last_words()}")
        return content

    def _last_words(self) -> str:
        """Returns why the process ended, as it said itself."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line for line in lines if "Error" in line] or ["it said nothing"]
        return f"ended with code {code}: {said[0].strip()}"


def _end(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):  # it ended before
            cast(IO[bytes], pipe).close()  # the end of its input ends it
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    errors.close()


def _manifest(package: str) -> Path:
    return modules() / package / "package.json"


def _install(packages: Sequence[str]) -> str:
    place = modules()
    if place.name != "node_modules":  # npm knows no other name
        return f"npm install {' '.join(packages)}, and set ZOO_NODE_MODULES to its node_modules"
    return f"npm install --prefix {place.parent} {' '.join(packages)}"
