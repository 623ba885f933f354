"""Examples that a command is given: a file of arrays, or a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.common import reading


def read(path: Path) -> Any:
    """Returns what a `.npy` or a `.npz` file holds; of a folder its path, as stages take it.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The file is neither.
    """
    if path.is_dir():
        return path
    expected = "examples as .npy or .npz, or a folder of pictures"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {expected}.")
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"{path}: its name ends in {path.suffix!r}; expected {expected}.")
    return (reading.array if path.suffix == ".npy" else reading.arrays)(path, expected)
