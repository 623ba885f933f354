"""Measures a model on the batches of a source, by the meter of its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zoo.common.columns import Column
from zoo.data.dataset import DataSet
from zoo.data.feeds.source import Source
from zoo.tasks import made
from zoo.tasks.task import Evaluation, Meter, Task

KNOWN = 20_000  # training pictures among which the nearest is looked for, at most
KNOWN_BYTES = 2**28  # and their pixels


def evaluate(
    task: Task,
    networks: Mapping[str, keras.Model],
    source: Source,
    columns: Mapping[str, Column],
    *,
    answer: Callable[[Mapping[str, np.ndarray]], Any] | None = None,
    meter: Meter | None = None,
) -> Evaluation:
    """Measures the networks of a task.

    Args:
        task: Says what is measured.
        networks: By name.
        source: Batches in order.
        columns: The data set's columns, by name.
        answer: What answers in the place of the networks, e.g. an exported file: preprocessed
            columns (n, ...) to outputs (n, ...).
        meter: A fresh one that measures in the place of `task.meter(columns)`.
    """
    meter = meter or task.meter(columns)
    forward = tf.function(lambda batch: task.answer(networks, batch), autograph=False)
    for batch in source.batches(tf.distribute.get_strategy(), networks=networks):
        values = {name: keras.ops.convert_to_numpy(column) for name, column in batch.items()}
        real = values.pop("weight") > 0  # the last batch is padded
        values = {name: column[real] for name, column in values.items()}
        if answer is None:
            found = keras.tree.map_structure(keras.ops.convert_to_numpy, forward(batch))
            outputs = keras.tree.map_structure(lambda x: x[real], found)  # noqa: B023 - used at once
        else:
            outputs = answer(values)
        meter.add(values, outputs)
    found = meter.result()
    if answer is not None:
        return found
    more = task.pictures(networks, meter, columns)
    return replace(found, pictures={**found.pictures, **more}) if more else found


def makes_pictures(task: Task, data: DataSet) -> bool:
    """Whether a task makes new pictures like those of a data set."""
    able = type(task).generate is not Task.generate
    return able and data.columns[data.input].kind == "image"


def memories(
    task: Task, networks: Mapping[str, keras.Model], data: DataSet
) -> dict[str, Callable[[Path], None]]:
    """Returns `nearest`: new pictures, each beside the training picture that is most like it.

    What a network learnt by heart shows there. It is empty for a task that makes no pictures.
    """
    return {"nearest": partial(_draw, task, networks, data)} if makes_pictures(task, data) else {}


def _draw(task: Task, networks: Mapping[str, keras.Model], data: DataSet, path: Path) -> None:
    new = task.generate(
        networks,
        columns={**data.columns, **task.outputs(data)},
        count=made.SHOWN // 2,
        seed=0,
    )
    one = np.prod([side or 1 for side in data.columns[data.input].shape])
    known = np.asarray(data.train[: min(KNOWN, int(KNOWN_BYTES // one))][data.input])
    made.save(made.pairs(new, known[made.nearest(new, known)[0]]), path)
