"""Files of Keras 2: `.h5`, the form that Keras 3 still reads, but for a few settings of layers.

What Keras 3 no longer knows is left out where it says what Keras 3 does anyway; else the file is
refused. Operations of TensorFlow within a graph have no layer in Keras 3.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from zoo.common.reading import FileError, one_line

# Settings that layers of Keras 3 dropped, and the only value that they have now.
GONE: dict[str, dict[str, Any]] = {
    "DepthwiseConv": {"groups": 1},
    "SeparableConv": {
        "groups": 1,
        "kernel_initializer": None,  # any: the layer has no such weight
        "kernel_regularizer": None,
        "kernel_constraint": None,
    },
    "LSTM": {"time_major": False},
    "GRU": {"time_major": False},
    "SimpleRNN": {"time_major": False},
    "RNN": {"time_major": False},
    "ConvLSTM": {"time_major": False},
}
OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceProperty")
REBUILD = (
    "Keras 3 does not know. Build the model in Keras 3; `model.load_weights({path!r})` fills it."
)


def load_h5(path: Path, *, unsafe: bool = False) -> keras.Model:
    """Loads a model of an `.h5` file, of Keras 2 or 3.

    Args:
        path: The file.
        unsafe: Loads Lambda layers too, which run the file's own code.

    Raises:
        ValueError: It is no whole model, or has parts that Keras 3 does not know.
    """
    try:
        with h5py.File(path) as file:
            _check_links(path, file)
            config = _config(path, file)
    except (OSError, KeyError, RuntimeError) as error:
        raise FileError(
            f"{path}: not a whole .h5 file ({one_line(error)}). Save it again."
        ) from None
    old = json.dumps(config)
    for layer in _layers(config):
        _check(path, layer, unsafe=unsafe)
        _bring_up(path, layer)
    try:
        if json.dumps(config) == old:
            return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(shutil.copy(path, scratch))
            copy.chmod(0o600)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
            return keras.saving.load_model(copy, compile=False, safe_mode=not unsafe)
    except (TypeError, ValueError, KeyError, IndexError, OSError) as error:
        raise FileError(
            f"{path}: not a model that Keras 3 loads ({one_line(error)}). For layers of your "
            "own: --import my_layers.py, or import them before."
        ) from None


def check_version(path: Path) -> None:
    """Refuses a `.keras` file that Keras 2 wrote, whose layers Keras 3 names otherwise.

    Raises:
        ValueError: It is one.
    """
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if "metadata.json" not in archive.namelist():
            return
        try:
            version = str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        except (ValueError, AttributeError, zipfile.BadZipFile):
            return  # what else is wrong, loading tells
    if version.startswith("2."):
        raise FileError(
            f"{path}: was written by Keras {version}, whose .keras files Keras 3 does not read. "
            "Save it there as `model.save('NAME.h5')`, which loads here."
        )


def _config(path: Path, file: h5py.File) -> dict[str, Any]:
    text = file.attrs.get("model_config")
    if text is None:
        raise FileError(
            f"{path}: holds weights alone; expected a whole model. Build it, and "
            f"`model.load_weights({str(path)!r})` fills it."
        )
    try:
        config = json.loads(text)
    except ValueError:
        raise FileError(f"{path}: its model is not JSON; expected a whole .h5 file.") from None
    if not isinstance(config, dict):
        raise FileError(f"{path}: describes no model; expected a whole .h5 file.")
    return config


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    """Every group of a config that names a class and its settings."""
    if isinstance(config, dict):
        if "class_name" in config and isinstance(config.get("config"), dict):
            yield config
        for value in config.values():
            yield from _layers(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers(value)


def _check(path: Path, layer: dict[str, Any], *, unsafe: bool) -> None:
    kind = str(layer["class_name"])
    if kind.startswith(OPERATIONS):
        function = layer["config"].get("function", kind)
        raise FileError(
            f"{path}: has the operation {function} of TensorFlow in its graph, which "
            + REBUILD.format(path=str(path))
        )
    if kind == "Lambda" and not unsafe:
        raise FileError(
            f"{path}: has a Lambda layer, code of its own that would run here. Load it with "
            "`zoo.load(path, unsafe=True)` if you trust whoever wrote it."
        )


def _bring_up(path: Path, layer: dict[str, Any]) -> None:
    """Leaves out what Keras 3 does not know."""
    kind, settings = str(layer["class_name"]), layer["config"]
    gone = next((names for start, names in GONE.items() if kind.startswith(start)), {})
    for name, value in gone.items():
        if name not in settings:
            continue
        if value is not None and settings[name] != value:
            raise FileError(
                f"{path}: its layer {settings.get('name')!r} has {name}={settings[name]}, which "
                + REBUILD.format(path=str(path))
            )
        del settings[name]


def _check_links(path: Path, group: h5py.Group) -> None:
    """Refuses what is stored in other files."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise FileError(f"{path}: {name!r} lies in another file; expected a whole .h5 file.")
        if isinstance(link, h5py.SoftLink):
            continue
        found = group[name]
        if isinstance(found, h5py.Group):
            _check_links(path, found)
        elif isinstance(found, h5py.Dataset) and found.external:
            raise FileError(f"{path}: {name!r} lies in another file; expected a whole .h5 file.")
