"""A golden row: the first logits of a net whose weights come from a frozen stream of numbers.

`numpy.random.RandomState` is frozen: the same numbers on every machine and in every version. Wrong
padding, strides, activations or a missing normalisation all move the logits.
"""

import json
from pathlib import Path

import keras
import numpy as np

from zoo.catalog import Architecture
from zoo.models import create

FILE = Path(__file__).with_name("models.json")
BATCH = 3


def read() -> dict[str, dict]:
    return json.loads(FILE.read_text())


def net(row: Architecture) -> keras.Model:
    """The row at the paper's classes, and at 32 pixels where the paper is larger and that works."""
    model = create(row.name, input_shape=small(row))
    fill(model)
    return model


def small(row: Architecture) -> tuple[int, ...]:
    if len(row.input_shape) != 3:
        return row.input_shape
    side = min(row.input_shape[0], max(row.smallest, 32))
    return (side, side, row.input_shape[2])


def fill(model: keras.Model) -> None:
    gammas = sum(weight.path.endswith("/gamma") for weight in model.weights)
    for index, weight in enumerate(model.weights):
        random = np.random.RandomState(index)
        if weight.path.endswith("/gamma") and gammas > 500:  # 600 branches of 1 overflow float32
            low, high = 0.1, 0.3
        elif weight.path.endswith(("/gamma", "/moving_variance")):
            low, high = 0.5, 1.5
        elif len(weight.shape) > 1:  # He et al. 2015: the variance is 2 / inputs of a unit
            depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1  # one input for each map
            high = np.sqrt(6 / np.prod(weight.shape[: 2 if depthwise else -1]))
            low = -high
        else:
            low, high = -0.1, 0.1
        weight.assign(random.uniform(low, high, size=weight.shape).astype("float32"))


def sample(model: keras.Model, batch: int = BATCH) -> np.ndarray:
    shape = (batch, *model.input_shape[1:])
    return np.random.RandomState(7).uniform(-1, 1, size=shape).astype("float32")


def measure(model: keras.Model) -> dict:
    logits = np.asarray(model(sample(model), training=False))
    return {
        "logits": [[float(f"{value:.4g}") for value in row[:4]] for row in logits],
        "mean_abs": float(f"{np.abs(logits).mean():.4g}"),
    }
