"""Loads the model of a bundle."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import keras

from zoo import layers
from zoo.bundle import MODEL


def load(path: str | Path, *, unsafe: bool = False) -> keras.Model:
    """Loads a model, with the layers that Keras lacks.

    Args:
        path: A bundle's directory, or a `.keras` file.
        unsafe: Loads Lambda layers too: Python code of whoever wrote the file, which then runs.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a whole Keras file, has layers of a package that is not imported, or a
            Lambda layer.
    """
    path = Path(path)
    path = path / MODEL if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; expected a bundle or a .keras file.")
    layers.register()
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, json.JSONDecodeError) as error:
        cause = " ".join(str(error).split())
        raise ValueError(f"{path}: not a whole .keras file ({cause}). Save it again.") from None
    except TypeError as error:
        if missing := re.search(r"Could not locate class '(\w+)'", str(error)):
            raise ValueError(
                f"{path}: has the layer {missing[1]!r}, which is not Keras' and not known yet. "
                "Those of a compressed model are, after `compress.layers.register()`."
            ) from None
        raise
    except ValueError as error:
        if "Lambda" in str(error) and "safe_mode" in str(error):
            raise ValueError(
                f"{path}: has a Lambda layer, code of its own that would run here. Load it with"
                " --unsafe (`unsafe=True`) if you trust whoever wrote it."
            ) from None
        if not zipfile.is_zipfile(path):
            raise ValueError(
                f"{path}: not a .keras file. Write one with `model.save('NAME.keras')`."
            ) from None
        raise
