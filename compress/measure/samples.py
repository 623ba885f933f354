"""Examples that a model is asked about, without labels: checked, dealt out, answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from compress.graph.graph import inputs_of
from compress.graph.tables import check_indices
from zoo.common.examples import gather

BATCH = 32


def check_samples(samples: Any, model: keras.Model, *, who: str) -> list[np.ndarray]:
    """Returns examples as arrays, in the order of a model's inputs.

    Args:
        samples: In any form that `zoo.common.examples.gather` takes.
        model: Functional or Sequential.
        who: What an error line opens with.

    Raises:
        ValueError: There are none, or they do not fit, or one is not finite, would change in the
            model's type, or is an index for which the model has no row.
    """
    where = f"{who}: samples"
    if samples is None:
        raise ValueError(f"{where}: got none; expected examples to calibrate on.")
    found = list(gather(samples, model.inputs, where=where).values())
    check_indices(model, found, where=where)
    return found


def batches(model: keras.Model, samples: list[np.ndarray]) -> Iterator[Any]:
    """Gives what a model takes, some examples at a time."""
    for start in range(0, len(samples[0]), BATCH):
        parts = [array[start : start + BATCH] for array in samples]
        yield keras.tree.pack_sequence_as(inputs_of(model), parts)


def answers(model: keras.Model, samples: list[np.ndarray]) -> list[np.ndarray]:
    """Returns what a model gives for examples, (n, ...) for each output."""
    parts = [keras.tree.flatten(model(batch, training=False)) for batch in batches(model, samples)]
    return [
        np.concatenate([ops.convert_to_numpy(x) for x in column])
        for column in zip(*parts, strict=True)
    ]
