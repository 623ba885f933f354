"""A film of what a network makes while it learns: the same noise after some of the epochs.

The bundle then holds `film.png`, a row of pictures for each of those epochs, and `film.gif`, one
after another. The epochs lie closer together at the beginning, where more happens. A snapshot keeps
what was made so far: a resumed run has the film of one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.tasks import made as pictures
from zoo.training.evaluation import makes_pictures
from zoo.training.run import Run

PICTURES = 10  # of an epoch
EPOCHS = 12  # in a film, about
SEED = 0  # of the noise
SECONDS = 0.5  # of an epoch, in the film
NAME = "film"


class Film(keras.callbacks.Callback):
    """Makes pictures after some epochs, and keeps them; see `snapshot.states`.

    Args:
        run: Its task makes them.
    """

    state_name = NAME  # whatever other callbacks a resumed run has

    def __init__(self, run: Run):
        super().__init__()
        self._run = run
        self._columns = {**run.data.columns, **run.task.outputs(run.data)}
        self._epochs = chosen(run.recipe.train.epochs)
        self.frames: list[np.ndarray] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Makes those of networks that have learnt nothing; a snapshot brings its own."""
        self.frames = [self._made()]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Makes those of an epoch, if it is its turn."""
        if epoch + 1 in self._epochs:
            self.frames.append(self._made())

    def saved_state(self) -> dict[str, np.ndarray]:
        """Returns what is needed to go on: the frames (frames, n, height, width, channels)."""
        return {"frames": np.stack(self.frames)} if self.frames else {}

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes back to a state; without one, e.g. of an older run, the film begins here."""
        self.frames = list(state["frames"]) if "frames" in state else []

    def write(self, directory: Path) -> None:
        """Writes the film, where there is one."""
        if not self.frames:
            return
        every = np.concatenate(self.frames)
        pictures.save(every, directory / f"{NAME}.png", columns=PICTURES)
        grids = [pictures.grid(frame, columns=PICTURES // 2) for frame in self.frames]
        pictures.save_film(grids, directory / f"{NAME}.gif", seconds=SECONDS)

    def _made(self) -> np.ndarray:
        found: np.ndarray = self._run.task.generate(
            self.params["networks"], columns=self._columns, count=PICTURES, seed=SEED
        )
        return found


def film_of(run: Run) -> Film | None:
    """Returns the film that a run is to make; `None` where it makes none.

    Raises:
        ValueError: `train.film` asks for one of a task that makes no pictures.
    """
    asked, task = run.recipe.train.film, run.task
    able = makes_pictures(task, run.data)
    if asked and not able:
        raise ValueError(
            f"train.film: got true for the task {task.kind} of {run.data.name}; expected a task "
            "that makes pictures, e.g. vae, gan, of images. Drop it."
        )
    return Film(run) if able and (task.filmed if asked is None else asked) else None


def chosen(epochs: int) -> set[int]:
    """Returns the epochs of a film, from 1 to the last; each step is a share of those before."""
    steps = np.geomspace(1, epochs, min(EPOCHS, epochs))
    return {round(step) for step in steps.tolist()} | {epochs}
