"""The state of an unfinished run, written and renamed, so that `--resume` continues it exactly.

`.keras` files and `tf.train.Checkpoint` leave out the states of dropout's seeds; `model.variables`
has them. Together with a data order that is a function of (seed, epoch, step), a resumed run takes
the same steps as one that was never stopped. The inner state of callbacks, e.g. the patience of
early stopping, is not kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np


class Snapshot:
    """One file with all variables of a training.

    Args:
        path: Where the file is, or will be.
        model: Its variables include the seeds' states.
        optimizer: Built on the model's trainable variables.
    """

    def __init__(self, path: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer):
        self.path = path
        self._variables = [*model.variables, *optimizer.variables]
        # Variables are found by their index: paths are not unique, and Keras numbers some of them
        # anew in every process.
        self._layout = json.dumps(
            [type(optimizer).__name__, [list(v.shape) for v in self._variables]]
        )

    def save(self, progress: dict[str, Any]) -> None:
        """Writes the variables and `progress`, which is plain JSON."""
        partial = self.path.with_suffix(".partial")
        with partial.open("wb") as file:
            arrays: dict[str, Any] = {f"v{i}": _value(v) for i, v in enumerate(self._variables)}
            np.savez(file, progress=json.dumps(progress), layout=self._layout, **arrays)
        partial.replace(self.path)

    def restore(self) -> dict[str, Any]:
        """Assigns the saved values and returns `progress`.

        Raises:
            FileNotFoundError: There is no snapshot.
            ValueError: The snapshot is of another model or optimizer.
        """
        if not self.path.is_file():
            raise FileNotFoundError(
                f"{self.path}: not found; there is no unfinished run to resume."
            )
        with np.load(self.path) as file:
            if file["layout"].item() != self._layout:
                raise ValueError(
                    f"{self.path}: written for another model or optimizer; resume with the same "
                    "recipe, or start anew with --force."
                )
            for i, variable in enumerate(self._variables):
                variable.assign(file[f"v{i}"])
            return dict(json.loads(file["progress"].item()))


def _value(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))
