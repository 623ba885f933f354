"""Opens a bundle again: its model, and its run with data, preprocessing and machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import keras

from compress import layers
from zoo.bundle import Bundle
from zoo.data.preprocessing import Preprocessing
from zoo.models import saved
from zoo.recipe import changed
from zoo.training.run import Run


def load(path: str | Path, *, unsafe: bool = False) -> keras.Model:
    """Loads a model as `zoo.load` does, with the layers of `compress` beside."""
    layers.register()
    return saved.load(path, unsafe=unsafe)


def reopen(bundle: Bundle, changes: Iterable[str] = ()) -> Run:
    """Returns the run that a bundle came from.

    Args:
        bundle: Of a model.
        changes: `key=value` changes of its recipe.

    Raises:
        ValueError: A change is wrong, or the data set no longer has the classes that the model
            knows.
    """
    run = Run(
        changed(bundle.recipe, changes), Preprocessing.model_validate(bundle.card.preprocessing)
    )
    if tuple(run.data.labels) != bundle.card.labels:
        raise ValueError(
            f"{bundle.path}: the data set {run.data.name} has the classes {run.data.labels}; "
            f"expected {bundle.card.labels}, which the model was trained on."
        )
    return run
