"""LiteRT (TFLite). Files hold a batch of one, so examples run one after the other.

A tensor that the file quantises (int8, uint8 or int16 with a scale) is float32 to the client: it is
quantised on the way in and dequantised on the way out, real = scale * (stored - zero_point).
"""

from __future__ import annotations

import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from export.manifest import Signature, TensorSpec
from serving.engines import Arrays

SIGNATURE = "serving_default"


class _Tensor(NamedTuple):
    """How the file stores one input or output; `scale` is zero where it is not quantised."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    def store(self, real: NDArray[Any]) -> NDArray[Any]:
        """Quantises; what lies outside the file's range becomes its nearest end."""
        if not self.scale:
            return real
        limits = np.iinfo(self.dtype)
        steps = np.rint(real / self.scale) + self.zero_point
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def real(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Dequantises."""
        if not self.scale:
            return stored
        return np.float32(self.scale) * (stored.astype(np.float32) - self.zero_point)


class LiteRT:
    """One interpreter behind a lock, which is held for one example at a time.

    Raises:
        ValueError: The file has no `serving_default` signature, or its tensors are not the manifest's.
    """

    runtime = f"LiteRT {version('ai-edge-litert')}"

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
        self._run = interpreter.get_signature_runner(SIGNATURE)
        self._lock = threading.Lock()
        self._inputs = _tensors(self._run.get_input_details())
        self._outputs = _tensors(self._run.get_output_details())
        for spec in signature.inputs:
            _check(self._inputs, spec)
        self.signature = Signature(
            inputs=tuple(_seen(self._inputs, spec) for spec in signature.inputs),
            outputs=tuple(_seen(self._outputs, spec) for spec in signature.outputs),
        )

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the examples one by one."""
        stored = {name: self._inputs[name].store(array) for name, array in inputs.items()}
        rows = []
        for i in range(len(next(iter(stored.values())))):
            example = {name: array[i : i + 1] for name, array in stored.items()}
            with self._lock:
                rows.append(self._run(**example))
        return {
            name: tensor.real(np.concatenate([row[name] for row in rows]))
            for name, tensor in self._outputs.items()
        }


def _tensors(details: dict[str, dict[str, Any]]) -> dict[str, _Tensor]:
    """The file's tensors by name."""
    return {
        name: _Tensor(np.dtype(d["dtype"]), tuple(map(int, d["shape"])), *d["quantization"])
        for name, d in details.items()
    }


def _check(tensors: dict[str, _Tensor], spec: TensorSpec) -> None:
    """Refuses a file whose input is not the manifest's: LiteRT would resize it in silence."""
    if spec.name not in tensors:
        raise ValueError(f"no input {spec.name!r}; the file has {', '.join(tensors)}.")
    expected = (1, *(size or 1 for size in spec.shape[1:]))
    if (shape := tensors[spec.name].shape) != expected:
        raise ValueError(f"input {spec.name!r}: got shape {shape}; expected {expected}.")


def _seen(tensors: dict[str, _Tensor], spec: TensorSpec) -> TensorSpec:
    """The tensor as a client sees it."""
    quantised = spec.name in tensors and tensors[spec.name].scale
    return spec.model_copy(update={"dtype": "float32"}) if quantised else spec
