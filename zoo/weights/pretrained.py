"""Fills a model of the catalogue with trained weights."""

from __future__ import annotations

import keras

from zoo.weights import KERAS, Weights, fetch, keras_applications, torch_pickle, transplant
from zoo.weights.torch_names import torch_names


def check_cached(row: Weights) -> None:
    """Refuses weights that `fill` would not find; Keras fetches its own where they are missing.

    Raises:
        FileNotFoundError: They have not been fetched.
        RuntimeError: The file in the cache has another sha256.
    """
    if row.file.package != KERAS:
        fetch.cached(row)


def fill(model: keras.Model, row: Weights) -> None:
    """Sets the weights of a model; a head for another number of classes keeps what it has.

    Args:
        model: Built by the row's builder, with the row's settings.
        row: The weights.

    Raises:
        FileNotFoundError: They have not been fetched.
        ConnectionError: Keras could not fetch them.
        RuntimeError: The file in the cache has another sha256.
        ValueError: They do not fit the model.
    """
    skip = () if model.output_shape[-1] == row.num_classes else ("logits",)
    if row.file.package == KERAS:
        keras_applications.fill(model, row, skip=skip)
        return
    tensors = torch_pickle.read_checkpoint(fetch.cached(row))
    transplant.from_torch(model, tensors, torch_names(model, row.model), skip=skip)
