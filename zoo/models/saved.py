"""Loads the model of a bundle, or anybody's `.keras` file."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from compress.graph.limits import limited
from compress.layers import register as register_compressed
from compress.measure.packed import unpack
from zoo.bundle import CARD, MODEL, NETWORKS, PACKED
from zoo.common import reading
from zoo.common.reading import FileError, one_line
from zoo.layers import register
from zoo.models.legacy import check_version, load_h5

EXPECTED = "a whole .keras file. Save it again with `model.save('NAME.keras')`"
SPARE = 2**26  # weights that a file need not hold, e.g. tables that a layer computes
WEIGHTS = "model.weights.h5"


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
    card = reading.json_object(path / CARD, "a card") if (path / CARD).is_file() else {}
    order = [name for name in card.get("networks") or () if name in files]
    return {name: load_model(files[name]) for name in dict.fromkeys((*order, *files))}


def load_model(path: str | Path, *, unsafe: bool = False) -> keras.Model:
    """Loads a model, with the layers that Keras lacks and those of compressed models.

    No weight is made for a size that a file merely declares: a file whose layers want more than it
    holds is refused.

    Args:
        path: A bundle's directory, a `.keras`, a `.packed` or an `.h5` file, that of Keras 2 too.
        unsafe: Loads Lambda layers too: Python code of whoever wrote the file, which then runs.

    Raises:
        FileNotFoundError: There is no such file.
        PermissionError: It may not be read.
        ValueError: It is not a whole Keras file, has layers of a package that is not imported, or a
            Lambda layer.
    """
    path = Path(path)
    if path.is_dir():
        path = path / (PACKED if not (path / MODEL).is_file() else MODEL)
    if not path.is_file():
        kept = path.with_name(MODEL) if path.name == PACKED else path
        raise FileNotFoundError(f"{kept}: not found; expected a bundle or a .keras file.")
    register()
    register_compressed()
    if path.suffix == ".packed":
        return unpack(path)
    if path.suffix in (".h5", ".hdf5"):
        with reading.whole(path, EXPECTED), limited(path.stat().st_size + SPARE):
            return load_h5(path, unsafe=unsafe)
    check_version(path)
    with reading.whole(path, EXPECTED), limited(_num_weights(path)):
        try:
            model = keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
        except (TypeError, ValueError, AttributeError) as error:
            raise FileError(_told(path, error)) from error
    if not isinstance(model, keras.Model):
        raise FileError(f"{path}: holds a {type(model).__name__}; expected a model.")
    return model


def compiled_loss(path: str | Path) -> Any:
    """Returns the loss that a model was compiled with, as its file has it.

    Args:
        path: A `.keras` or `.h5` file of a model.

    Returns:
        A name, or a name with settings, or several of these; `None` where the file holds none.
    """
    path = Path(path)
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        if path.suffix in (".h5", ".hdf5"):
            with h5py.File(path) as file:
                compiled = json.loads(file.attrs["training_config"])
        else:
            with zipfile.ZipFile(path) as archive:
                compiled = json.loads(archive.read("config.json")).get("compile_config")
        return compiled.get("loss") if isinstance(compiled, dict) else None
    return None


def _num_weights(path: Path) -> int:
    """How many weights a file can hold, which is looked at before Keras unfolds it."""
    with path.open("rb") as file:  # which tells why, where it cannot be opened
        if not zipfile.is_zipfile(file):
            raise FileError(
                f"{path}: not a .keras file. Write one with `model.save('NAME.keras')`."
            )
    with zipfile.ZipFile(path) as archive:
        reading.check_archive(archive, path.stat().st_size)
        sizes = {member.filename: member.file_size for member in archive.infolist()}
    if WEIGHTS not in sizes or "config.json" not in sizes:
        missing = " and ".join(name for name in ("config.json", WEIGHTS) if name not in sizes)
        raise ValueError(f"lacks {missing}")
    return sizes[WEIGHTS] + SPARE


def _told(path: Path, error: Exception) -> str:
    """What is wrong with a file that Keras does not load, and what helps."""
    text = str(error)
    if told := reading.unregistered(error):
        return f"{path}: {told}"
    if "Lambda" in text and "safe_mode" in text:
        return (
            f"{path}: has a Lambda layer, code of its own that would run here. Load it with"
            " --unsafe of `zoo export`, or in Python by zoo.load(path, unsafe=True), if you trust"
            " whoever wrote it: zoo.compress and zoo.export take the model. For the other commands"
            " a layer of your own is to stand in its place, see --import."
        )
    return f"{path}: not {EXPECTED} ({one_line(error)})."
