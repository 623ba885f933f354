"""The state of an unfinished run, written and renamed, so that `--resume` continues it exactly.

`.keras` files and `tf.train.Checkpoint` leave out the states of dropout's seeds; `model.variables`
has them. Together with a data order that is a function of (seed, epoch, step), a resumed run takes
the same steps as one that was never stopped. Of callbacks it keeps what their `saved_state()` gives
by name, and gives it back by `restore_state()`, by their `state_name` or else their number; Keras'
own, e.g. the patience of early stopping, have neither.

The snapshot before the last stays beside it: a file that the disk has damaged is found out by its
checksums, and the run goes on from the one before (`mend`).
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.common import reading, renames

EXPECTED = "a snapshot; start anew with --force"
LOG = logging.getLogger("zoo")


class Snapshot:
    """One file with all variables of a training.

    Args:
        path: Where the file is, or will be; `None` for no file.
        variables: Variables of the networks, seeds' states among them, then of the optimizers.
        optimizers: Names of the kinds of optimizers.
        writes: Whether this process writes it; of several that train together, the chief does.
    """

    def __init__(
        self,
        path: Path | None,
        variables: Sequence[keras.Variable],
        optimizers: Sequence[str],
        *,
        writes: bool = True,
    ):
        self.path, self._writes = path, writes
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

        A disk that is full is no reason to stop: a line says so, and the old snapshot stays.

        Args:
            progress: Plain JSON.
            values: In place of the variables' own.
            more: Other arrays by name.
        """
        if self.path is None or not self._writes:
            return
        values = self.values() if values is None else values
        arrays: dict[str, Any] = {f"v{i}": value for i, value in enumerate(values)}
        arrays |= {f"more/{name}": value for name, value in (more or {}).items()}
        partial, before = self.path.with_suffix(".partial"), before_of(self.path)
        try:
            with partial.open("wb") as file:
                np.savez(file, progress=json.dumps(progress), layout=self._layout, **arrays)
            before.unlink(missing_ok=True)  # of another training, where there is none of this
            if self.path.exists():
                with contextlib.suppress(OSError):  # not every file system has links
                    before.hardlink_to(self.path)
            renames.put(partial, self.path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            LOG.warning(
                "%s: not written (%s); the run goes on, and what was saved before is still there",
                self.path, error.strerror or error,
            )  # fmt: skip

    def restore(self) -> None:
        """Assigns the saved values.

        Raises:
            FileNotFoundError: There is no snapshot.
            ValueError: The snapshot is damaged, or of another model or optimizer.
        """
        saved = _open(self.path)
        if str(saved.get("layout")) != self._layout:
            raise ValueError(
                f"{self.path}: written for another model or optimizer; resume with the same "
                "recipe, or start anew with --force."
            )
        with reading.whole(self.path, EXPECTED):
            self.assign(saved[f"v{i}"] for i in range(len(self._variables)))


def before_of(path: Path) -> Path:
    """Returns where the snapshot before the last is."""
    return path.with_suffix(f".before{path.suffix}")


def mend(path: Path | None) -> None:
    """Puts the snapshot before the last in the place of one that is damaged, and says so.

    Raises:
        FileNotFoundError: There is no snapshot.
        ValueError: It is damaged, and so is the one before, or there is none.
    """
    try:
        _open(path, ("",))  # all of it: checksums are compared
    except ValueError as error:
        before = before_of(Path(path or ""))
        try:
            _open(before, ("",))
        except (OSError, ValueError):
            raise error from None
        LOG.warning("%s; goes on from the snapshot before it", str(error).partition(";")[0])
        renames.put(before, Path(path or ""))


def progress(path: Path | None) -> dict[str, Any]:
    """Returns the `progress` of a snapshot.

    Raises:
        FileNotFoundError: There is no snapshot.
        ValueError: It is damaged.
    """
    saved = _open(path, ("progress",))
    with reading.whole(path, EXPECTED):
        return dict(json.loads(saved["progress"].item()))


def more(path: Path | None) -> dict[str, np.ndarray]:
    """Returns the other arrays of a snapshot, by name.

    Raises:
        FileNotFoundError: There is no snapshot.
        ValueError: It is damaged.
    """
    found = _open(path, ("more/",))
    return {name.removeprefix("more/"): array for name, array in found.items()}


def states(callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, np.ndarray]:
    """Returns what callbacks keep, where they say so by `saved_state`, for `Snapshot.save`."""
    return {
        f"{_place(callback, number)}/{name}": np.asarray(value)
        for number, callback in enumerate(callbacks)
        if hasattr(callback, "saved_state")
        for name, value in callback.saved_state().items()
    }


def give_back(
    callbacks: Sequence[keras.callbacks.Callback], arrays: Mapping[str, np.ndarray]
) -> None:
    """Gives callbacks, by `restore_state`, what `states` had found."""
    for number, callback in enumerate(callbacks):
        if hasattr(callback, "restore_state"):
            start = f"{_place(callback, number)}/"
            callback.restore_state(
                {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
            )


def _place(callback: keras.callbacks.Callback, number: int) -> str:
    """Where the state of a callback is kept: by its `state_name`, if it has one, or its number."""
    return f"callback/{getattr(callback, 'state_name', number)}"


def _open(path: Path | None, starts: tuple[str, ...] = ("layout", "v")) -> dict[str, np.ndarray]:
    """The arrays whose names start so."""
    if path is None or not path.is_file():
        raise FileNotFoundError(f"{path}: not found; there is no unfinished run to resume.")
    return reading.arrays(path, EXPECTED, starts=starts)
