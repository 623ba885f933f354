"""Exported files run alone in their own runtimes, beside small models."""

import keras
import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

RANDOM = np.random.RandomState(11)
ROWS = RANDOM.randn(64, 10).astype("float32")
IDS = RANDOM.randint(0, 100, (64, 12)).astype("int32")


def x(size=10, name="x"):
    return keras.Input((size,), name=name)


def in_onnx(done, inputs):
    """The answers of the file alone, by name."""
    session = onnxruntime.InferenceSession(done.path / "model.onnx")
    names = [one.name for one in session.get_outputs()]
    fixed = session.get_inputs()[0].shape[0] == 1
    size = 1 if fixed else len(next(iter(inputs.values())))
    total = len(next(iter(inputs.values())))
    parts = [
        session.run(names, {name: array[i : i + size] for name, array in inputs.items()})
        for i in range(0, total, size)
    ]
    return {
        name: np.concatenate(rows)
        for name, rows in zip(names, zip(*parts, strict=True), strict=True)
    }


def in_litert(done, inputs):
    runner = Interpreter(str(done.path / "model.tflite")).get_signature_runner("serving_default")
    rows = [
        runner(**{name: array[i : i + 1] for name, array in inputs.items()})
        for i in range(len(next(iter(inputs.values()))))
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
