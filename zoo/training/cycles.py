"""The models at the ends of the cycles of the schedule `cyclic`: a snapshot ensemble's members.

Source: Huang et al. 2017, arXiv:1704.00109. One command trains them all:

    zoo train resnet20 --set train.optimizer.schedule=cyclic --set train.optimizer.cycles=5

The bundle is the model at the end of the last cycle, as after any other run, and has a directory
`cycles` with one whole model for each cycle, `01.keras` to `05.keras`. While the run is unfinished
they lie beside its snapshot. A cycle ends with an epoch; a training without a snapshot keeps none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import keras

from zoo.tasks.supervised import without_auxiliary
from zoo.training.transfer import Epochs

DIRECTORY = "cycles"


def ending(phase: Epochs, epoch: int) -> int | None:
    """Returns the number, from 1, of the cycle that ends with an epoch, counted from 0, if any."""
    if phase.optimizer.schedule != "cyclic":
        return None
    length = phase.epochs // phase.optimizer.cycles
    number, rest = divmod(epoch + 1 - phase.first, length)
    return None if rest else number


def keep(model: keras.Model, directory: Path, number: int) -> None:
    """Saves the model of a cycle, without auxiliary heads.

    Args:
        model: Plain Keras, float32.
        directory: Directory of the run's snapshot, or of a bundle.
        number: The cycle's number, from 1.
    """
    path = directory / DIRECTORY / f"{number:02d}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    without_auxiliary(model).save(path)


def copy(source: Path, target: Path) -> None:
    """Copies the models of all cycles from one directory to another, where there are some."""
    if (source / DIRECTORY).is_dir():
        shutil.copytree(source / DIRECTORY, target / DIRECTORY)


def files(bundle: str | Path) -> list[Path]:
    """Returns the models of all cycles, the last cycle last; `zoo.load` reads them.

    Args:
        bundle: Directory of a bundle that was trained with the schedule `cyclic`.

    Raises:
        FileNotFoundError: It has none.
    """
    paths = sorted((Path(bundle) / DIRECTORY).glob("*.keras"))
    if not paths:
        raise FileNotFoundError(
            f"{bundle}: has no {DIRECTORY}/; expected a bundle that was trained with "
            "train.optimizer.schedule=cyclic."
        )
    return paths
