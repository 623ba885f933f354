"""The state of an unfinished run, written and renamed, so that `--resume` continues it exactly.

`.keras` files and `tf.train.Checkpoint` leave out the states of dropout's seeds; `model.variables`
has them. Together with a data order that is a function of (seed, epoch, step), a resumed run takes
the same steps as one that was never stopped. The inner state of callbacks, e.g. the patience of
early stopping, is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np


class Snapshot:
    """One file with all variables of a training.

    Args:
        path: Where the file is, or will be; `None` for no file.
        variables: Variables of the networks, seeds' states among them, then of the optimizers.
        optimizers: Names of the kinds of optimizers.
    """

    def __init__(
        self, path: Path | None, variables: Sequence[keras.Variable], optimizers: Sequence[str]
    ):
        self.path = path
        self._variables = list(variables)
        # Variables are found by their index: paths are not unique, and Keras numbers some of them
        # anew in every process.
        self._layout = json.dumps([*optimizers, [list(v.shape) for v in self._variables]])

    def values(self) -> list[np.ndarray]:
        """Returns a copy of all variables."""
        return [np.array(keras.ops.convert_to_numpy(v)) for v in self._variables]

    def assign(self, values: Iterable[np.ndarray]) -> None:
        """Gives the variables the values that they once had."""
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    def save(
        self,
        progress: dict[str, Any],
        values: Sequence[np.ndarray] | None = None,
        *,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes the variables, or other values of theirs.

        Args:
            progress: Plain JSON.
            values: In place of the variables' own.
            more: Other arrays by name.
        """
        if self.path is None:
            return
        partial = self.path.with_suffix(".partial")
        with partial.open("wb") as file:
            values = self.values() if values is None else values
            arrays: dict[str, Any] = {f"v{i}": value for i, value in enumerate(values)}
            arrays |= {f"more/{name}": value for name, value in (more or {}).items()}
            np.savez(file, progress=json.dumps(progress), layout=self._layout, **arrays)
        partial.replace(self.path)

    def restore(self) -> None:
        """Assigns the saved values.

        Raises:
            FileNotFoundError: There is no snapshot.
            ValueError: The snapshot is of another model or optimizer.
        """
        with _open(self.path) as file:
            if file["layout"].item() != self._layout:
                raise ValueError(
                    f"{self.path}: written for another model or optimizer; resume with the same "
                    "recipe, or start anew with --force."
                )
            self.assign(file[f"v{i}"] for i in range(len(self._variables)))


def progress(path: Path | None) -> dict[str, Any]:
    """Returns the `progress` of a snapshot.

    Raises:
        FileNotFoundError: There is no snapshot.
    """
    with _open(path) as file:
        return dict(json.loads(file["progress"].item()))


def more(path: Path | None) -> dict[str, np.ndarray]:
    """Returns the other arrays of a snapshot, by name.

    Raises:
        FileNotFoundError: There is no snapshot.
    """
    with _open(path) as file:
        names = [name for name in file.files if name.startswith("more/")]
        return {name.removeprefix("more/"): file[name] for name in names}


def _open(path: Path | None) -> Any:
    if path is None or not path.is_file():
        raise FileNotFoundError(f"{path}: not found; there is no unfinished run to resume.")
    return np.load(path)
