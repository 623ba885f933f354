"""The runtimes: `load` opens an exported directory with the engine of its target.

An engine is one file here and one row of `ENGINES`; its runtime is imported when a directory needs
it.
"""

from __future__ import annotations

import importlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from export.manifest import Manifest, Signature, TensorSpec
from serving.wire.dtypes import DTYPES

Arrays = Mapping[str, NDArray[Any]]

TFLITE = (
    *("tflite", "tflite-float16", "tflite-dynamic"),
    *("tflite-int8", "tflite-int16x8", "tflite-int4"),
)
ENGINES = {
    **dict.fromkeys(TFLITE, "serving.engines.litert:LiteRT"),
    **dict.fromkeys(("onnx", "onnx-int8"), "serving.engines.onnx:OnnxRuntime"),
    **dict.fromkeys(("openvino", "openvino-int8"), "serving.engines.openvino:OpenVINO"),
    "saved_model": "serving.engines.saved_model:TensorFlow",
}

FREE_SIZES = (1, 8, 64, 512)  # tried in turn where a model takes any
TOGETHER = 4  # examples that are timed in one run, to see whether batches help
WORTH = 0.95  # of the time that they take one after another


class Engine(Protocol):
    """A loaded model file.

    Attributes:
        runtime: Name and version of the runtime.
        signature: The tensors as a client sees them; a file may store them otherwise (see
            `litert`).
        batches: Whether several examples in one run are faster than one after the other.
        alone: Whether one run excludes others, so that each worker needs an engine of its own.
        narrow: Whether integers of 64 bits are computed in 32.
    """

    runtime: str
    signature: Signature
    batches: bool
    alone: bool
    narrow: bool

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the model; safe to call from several threads at once.

        Args:
            inputs: One array for each input of `signature`, (batch, ...).

        Returns:
            One array for each output of `signature`, (batch, ...).

        Raises:
            ValueError: The runtime says that a value is not one that the model takes, e.g. an index
                beyond a table.
        """


def example_shape(spec: TensorSpec, free: int = 1) -> tuple[int, ...]:
    """Returns the shape of one example of an input, sizes that may vary as `free`."""
    return tuple(free if size is None else size for size in spec.shape[1:])


def one_by_one(run: Callable[[Arrays], Arrays], inputs: Arrays) -> Arrays:
    """Runs a file whose batch is one on each of the examples (batch, ...)."""
    total = len(next(iter(inputs.values())))
    rows = [run({name: array[i : i + 1] for name, array in inputs.items()}) for i in range(total)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


class AnyBatch(ABC):
    """An engine whose file takes batches of any size, or else of one, as the manifest says.

    Args:
        signature: The tensors.
    """

    narrow = False

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.batches = all(spec.shape[0] != 1 for spec in signature.inputs)
        self._outputs = [spec.name for spec in signature.outputs]

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the whole batch at once, if the file can."""
        return self._run(inputs) if self.batches else one_by_one(self._run, inputs)

    @abstractmethod
    def _run(self, inputs: Arrays) -> Arrays:
        """Runs the file once."""


def open_deployable(directory: str | Path, *, num_threads: int) -> tuple[Manifest, Engine]:
    """Opens an exported directory for one run at a time, see `open_engines`."""
    opened = open_engines(directory, num_threads=num_threads)
    return opened.manifest, opened.engines[0]


class Opened(NamedTuple):
    """An exported directory that runs.

    Attributes:
        manifest: What it says of itself.
        engines: As many as asked for; the same one where the runtime lets it run several times at
            once.
        seconds: How long one example takes, the median of a few runs.
        batches: Whether several examples in one run were faster than one after another.
    """

    manifest: Manifest
    engines: list[Engine]
    seconds: float
    batches: bool


def open_engines(directory: str | Path, *, num_threads: int, copies: int = 1) -> Opened:
    """Opens an exported directory: checks the file's digest, loads it and runs it once.

    Args:
        directory: What `zoo export` wrote: a model file and `manifest.json`.
        num_threads: Threads of one inference.
        copies: How many runs there may be at a time.

    Raises:
        FileNotFoundError: The directory, its manifest or its model file is missing.
        ValueError: The manifest is not valid, its target is not served here, the file is not the
            one that was exported, it failed its parity check, or it does not run as described.
    """
    manifest, path = Manifest.of_file(directory)
    engine = _engine_of(manifest.target, directory)
    _check_inputs(manifest.signature, directory)
    try:
        loaded: list[Engine] = []
        for _ in range(copies):
            if loaded and not loaded[0].alone:
                loaded.append(loaded[0])
                continue
            loaded.append(engine(path, manifest.signature, num_threads=num_threads))
            times = _warm_up(loaded[-1])
    except Exception as error:  # each runtime raises its own kinds
        raise ValueError(f"{path}: does not run as the manifest says: {one_line(error)}") from error
    return Opened(manifest, loaded, times.alone, times.faster and loaded[0].batches)


def _zeros(engine: Engine, batch: int, free: int) -> Arrays:
    return {
        spec.name: np.zeros((batch, *example_shape(spec, free)), spec.dtype)
        for spec in engine.signature.inputs
    }


def one_line(error: Exception) -> str:
    """Returns what a runtime says of its failure, which may be many lines, as one."""
    return " ".join(str(error).split())[:500]


def told(runtime: str, error: Exception) -> str:
    """Returns what a runtime says of a value that it refuses, without its own inner parts."""
    said = one_line(error)
    for pattern in (
        r"Status Message: (?P<said>.*)",  # ONNX Runtime
        r"^(?P<said>.*?) ?Node number \d+ \(\w+\) failed",  # LiteRT
        r"(?P<said>\S+ = \S+ is not in \[[^\])]*[\])])",  # TensorFlow
    ):
        if found := re.search(pattern, said):
            said = found["said"]
            break
    return f"{runtime} has no answer to a value of the request: {said.rstrip('.')}."


def _engine_of(target: str, directory: str | Path) -> Any:
    """The engine's class for a target."""
    if target not in ENGINES:
        raise ValueError(
            f"{directory}: target {target!r} is not served here; expected {', '.join(ENGINES)}."
            " Export to one of these."
        )
    module, _, name = ENGINES[target].partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as missing:
        raise ValueError(
            f"{directory}: target {target!r} needs {missing.name}, which is not installed; "
            "expected `pip install 'keras-model-zoo[targets]'`."
        ) from None


def _check_inputs(signature: Signature, directory: str | Path) -> None:
    """Refuses inputs that a request could not be checked against."""
    for spec in signature.inputs:
        if not spec.shape or 0 in spec.shape[1:] or spec.dtype not in DTYPES:
            raise ValueError(
                f"{directory}: input {spec.name!r} is {spec.dtype} of shape {spec.shape}; expected"
                " numbers or booleans, a batch first."
            )


class _Times(NamedTuple):
    """Seconds of one example, the median, and whether `TOGETHER` in one run take less each."""

    alone: float
    faster: bool


def _warm_up(engine: Engine) -> _Times:
    """Runs two examples of zeros: the first run is slow, and two show that the batch passes.

    A size that may vary is 1, or larger where the model wants more.
    """
    batch, free = 2, any(None in spec.shape[1:] for spec in engine.signature.inputs)
    for size in FREE_SIZES if free else FREE_SIZES[:1]:
        try:
            outputs = engine.predict(_zeros(engine, batch, size))
            break
        except Exception:  # each runtime raises its own kinds
            if not free or size == FREE_SIZES[-1]:
                raise
    for spec in engine.signature.outputs:
        got = outputs[spec.name]
        sizes = zip(got.shape[1:], spec.shape[1:], strict=False)
        fits = got.ndim == len(spec.shape) and all(want in (None, size) for size, want in sizes)
        if not fits or len(got) != batch or got.dtype.name != spec.dtype:
            raise ValueError(
                f"output {spec.name!r}: got {got.dtype} of shape {got.shape} for {batch} examples;"
                f" expected {spec.dtype} of shape ({batch}, ...{spec.shape[1:]})."
            )
    alone = _times(engine, _zeros(engine, 1, size))
    if not engine.batches:
        return _Times(alone[len(alone) // 2], faster=False)
    together = _times(engine, _zeros(engine, TOGETHER, size))
    return _Times(alone[len(alone) // 2], together[0] < WORTH * TOGETHER * alone[0])


def _times(engine: Engine, inputs: Arrays) -> list[float]:
    """The times of a few runs in seconds, the shortest first."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        engine.predict(inputs)
        times.append(time.perf_counter() - start)
    return sorted(times)
