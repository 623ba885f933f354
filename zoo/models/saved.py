"""Loads the model of a bundle."""

from __future__ import annotations

import re
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
        ValueError: It has layers of a package that is not imported.
    """
    path = Path(path)
    path = path / MODEL if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; expected a bundle or a .keras file.")
    layers.register()
    try:
        return keras.saving.load_model(path, compile=False)
    except TypeError as error:
        if missing := re.search(r"Could not locate class '(\w+)'", str(error)):
            raise ValueError(
                f"{path}: has the layer {missing[1]!r}, which is not Keras' and not known yet. "
                "Those of a compressed model are, after `compress.layers.register()`."
            ) from None
        raise
