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
from serving.engines import Arrays, example_shape, one_by_one, told


class _Tensor(NamedTuple):
    """How the file stores an input or output; `scale` is zero where it is not quantised."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    def store(self, real: NDArray[Any]) -> NDArray[Any]:
        """Quantises; a value beyond the file's range becomes the end of the range.

        Raises:
            ValueError: One is NaN, for which no integer stands.
        """
        if not self.scale:
            return real
        if np.isnan(real).any():
            raise ValueError(f"got NaN; expected numbers, as the file holds {self.dtype}.")
        ends = np.iinfo(self.dtype)
        steps = np.rint(real / self.scale) + self.zero_point
        return np.asarray(np.clip(steps, ends.min, ends.max), self.dtype)

    def real(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Dequantises."""
        if not self.scale:
            return stored
        steps = stored.astype(np.float32) - self.zero_point
        return np.asarray(steps * self.scale, np.float32)

    def seen(self, spec: TensorSpec) -> TensorSpec:
        """The tensor as the client sees it."""
        return spec.model_copy(update={"dtype": "float32"}) if self.scale else spec


class LiteRT:
    """One interpreter behind a lock, which is held for one example at a time.

    Raises:
        ValueError: The file has no `serving_default`, or its tensors are not the manifest's.
    """

    runtime = f"LiteRT {version('ai-edge-litert')}"
    batches = False
    alone = True
    narrow = False

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
        interpreter.allocate_tensors()
        self._reset = interpreter.reset_all_variables  # the states of a fused LSTM
        self._run = interpreter.get_signature_runner("serving_default")
        self._lock = threading.Lock()
        self._inputs = _tensors(self._run.get_input_details(), signature.inputs)
        self._outputs = _tensors(self._run.get_output_details(), signature.outputs)
        for spec in signature.inputs:
            got, expected = self._inputs[spec.name].shape, (1, *example_shape(spec))
            if got != expected:  # LiteRT would resize it in silence
                raise ValueError(f"input {spec.name!r}: got shape {got}; expected {expected}.")
        self.signature = Signature(
            inputs=tuple(self._inputs[spec.name].seen(spec) for spec in signature.inputs),
            outputs=tuple(self._outputs[spec.name].seen(spec) for spec in signature.outputs),
        )

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the examples one by one."""
        stored = {name: self._inputs[name].store(array) for name, array in inputs.items()}
        outputs = one_by_one(self._run_one, stored)
        return {name: tensor.real(outputs[name]) for name, tensor in self._outputs.items()}

    def _run_one(self, example: Arrays) -> Arrays:
        with self._lock:
            self._reset()
            try:
                outputs: Arrays = self._run(**example)
            except RuntimeError as error:
                if "out of bounds" in str(error):  # an index beyond a table
                    raise ValueError(told(self.runtime, error)) from error
                raise
            return outputs


def _tensors(
    details: dict[str, dict[str, Any]], specs: tuple[TensorSpec, ...]
) -> dict[str, _Tensor]:
    """The file's tensors by name, which must be the manifest's names."""
    names = [spec.name for spec in specs]
    if set(names) != set(details):
        raise ValueError(f"got tensors named {sorted(details)}; expected {sorted(names)}.")
    return {
        name: _Tensor(
            np.dtype(details[name]["dtype"]),
            tuple(int(size) for size in details[name]["shape"]),
            *details[name]["quantization"],
        )
        for name in names
    }
