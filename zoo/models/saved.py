"""Loads the model of a bundle."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import keras

from compress import layers as compressed
from compress.measure.packed import unpack
from zoo import layers
from zoo.bundle import CARD, MODEL, NETWORKS, PACKED


def load_networks(path: str | Path) -> dict[str, keras.Model]:
    """Loads the networks of a bundle by name; a bundle with one has `net`.

    Raises:
        FileNotFoundError: There is no such bundle.
        ValueError: See `load_model`.
    """
    path = Path(path)
    files = {file.stem: file for file in sorted(path.glob(f"{NETWORKS}/*"))}
    if not files:
        return {"net": load_model(path)}
    # In the builder's order, which the card has; bundles of before had it by the alphabet.
    card = json.loads((path / CARD).read_text()) if (path / CARD).is_file() else {}
    order = [name for name in card.get("networks", ()) if name in files]
    return {name: load_model(files[name]) for name in dict.fromkeys((*order, *files))}


def load_model(path: str | Path, *, unsafe: bool = False) -> keras.Model:
    """Loads a model, with the layers that Keras lacks and those of compressed models.

    Args:
        path: A bundle's directory, a `.keras` file, or a `.packed` one.
        unsafe: Loads Lambda layers too: Python code of whoever wrote the file, which then runs.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a whole Keras file, has layers of a package that is not imported, or a
            Lambda layer.
    """
    path = Path(path)
    if path.is_dir():
        path = path / (PACKED if not (path / MODEL).is_file() else MODEL)
    if not path.is_file():
        kept = path.with_name(MODEL) if path.name == PACKED else path
        raise FileNotFoundError(f"{kept}: not found; expected a bundle or a .keras file.")
    layers.register()
    compressed.register()
    if path.suffix == ".packed":
        return unpack(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, json.JSONDecodeError) as error:
        cause = " ".join(str(error).split())
        raise ValueError(f"{path}: not a whole .keras file ({cause}). Save it again.") from None
    except TypeError as error:
        if missing := re.search(r"Could not locate class '(\w+)'", str(error)):
            raise ValueError(
                f"{path}: has the layer {missing[1]!r}, which is neither Keras' nor ours. "
                "Import the module that defines it, with "
                "`@keras.saving.register_keras_serializable()`, before the model is loaded."
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
