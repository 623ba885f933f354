"""Loads the model of a bundle."""

from __future__ import annotations

from pathlib import Path

import keras

from zoo import layers
from zoo.bundle import MODEL


def load(path: str | Path) -> keras.Model:
    """Loads a model, with the layers that Keras lacks.

    Args:
        path: A bundle's directory, or a `.keras` file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    path = path / MODEL if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; expected a bundle or a .keras file.")
    layers.register()
    return keras.saving.load_model(path, compile=False)
