"""A golden row: the first logits of a net whose weights come from a frozen stream of numbers.

`numpy.random.RandomState` is frozen: the same numbers on every machine and in every version. Wrong
padding, strides, activations or a missing normalisation all move the logits.
"""

import json
from pathlib import Path

import keras
import numpy as np

from zoo.catalog import CATALOG, VECTOR, Architecture
from zoo.layers import Detections
from zoo.models import create
from zoo.tasks.places.detect import learnt

FILE = Path(__file__).with_name("models.json")
BATCH = 3
REAL = "real"  # 1 where a text is no padding; of the tokens alone, and the same in many texts
TIME = 5  # of a text whose length varies
SIGNAL = 2  # axes of what a network of signals reads; one of texts has a vocabulary
CLASSIFIERS = {
    name: row
    for name, row in CATALOG.items()
    if row.task in VECTOR and len(row.input_shape) != SIGNAL and "vocabulary" not in row.settings
}
OTHERS = {name: row for name, row in CATALOG.items() if name not in CLASSIFIERS}


def read() -> dict[str, dict]:
    return json.loads(FILE.read_text())


def nets(row: Architecture) -> dict[str, keras.Model]:
    """The networks of a row by name, filled."""
    made = create(row.name, input_shape=small(row))
    networks = {"net": made} if isinstance(made, keras.Model) else made
    for network in networks.values():
        fill(network)
    return networks


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
    finds = any(isinstance(layer, Detections) for layer in model.layers)
    for index, weight in enumerate(model.weights):
        random = np.random.RandomState(index)
        # 600 branches of 1 overflow float32; offsets of some thousand leave no box in a picture.
        if weight.path.endswith("/gamma") and gammas > (50 if finds else 500):
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
    shape = (batch, *(size or TIME for size in model.inputs[0].shape[1:]))
    random = np.random.RandomState(7)
    if model.inputs[0].dtype == "int32":
        return random.randint(0, 10, size=shape).astype("int32")
    return random.uniform(-1, 1, size=shape).astype("float32")


def inputs(model: keras.Model, batch: int = BATCH) -> np.ndarray | list[np.ndarray]:
    """What a network reads: pictures or tokens; boxes in them, or any numbers, beside them."""
    first = sample(model, batch)
    if len(model.inputs) == 1:
        return first
    random = np.random.RandomState(8)
    found = [first]
    for tensor in model.inputs[1:]:
        if tensor.name == "regions":
            ends = random.uniform(0, first.shape[1], (batch, tensor.shape[1], 2, 2))
            values = np.sort(ends, axis=2).reshape(batch, -1, 4)
        elif tensor.dtype == "int32":
            values = random.randint(0, 4, (batch, *tensor.shape[1:]))
        else:
            values = random.uniform(-1, 1, (batch, *tensor.shape[1:]))
            if tensor.name == REAL:
                values = values > -0.5
        found.append(values.astype(tensor.dtype))
    return found


def measure(model: keras.Model) -> dict:
    logits = np.asarray(model(sample(model), training=False))
    return _golden(logits)


def measure_all(networks: dict[str, keras.Model]) -> dict[str, dict]:
    """The first numbers of every output of every network."""
    found = {}
    measured = dict(networks)
    for name, network in networks.items():
        if any(isinstance(layer, Detections) for layer in network.layers):
            # What the boxes are made of tells more than they do, and what the words are made of.
            measured[name] = learnt(network)
            parts = [layer for layer in network.layers if isinstance(layer, keras.Model)]
            measured |= {f"{name}/{part.name}": part for part in parts}
    for name, network in measured.items():
        outputs = network(inputs(network), training=False)
        named = outputs if isinstance(outputs, dict) else {network.output_names[0]: outputs}
        for output, values in named.items():
            if output == REAL:
                continue
            found[f"{name}/{output}"] = _golden(np.asarray(values).reshape(BATCH, -1))
    return found


def _golden(values: np.ndarray) -> dict:
    return {
        "logits": [[float(f"{value:.4g}") for value in row[:4]] for row in values],
        "mean_abs": float(f"{np.abs(values).mean():.4g}"),
    }
