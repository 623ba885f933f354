"""A progress bar and one line for each epoch, on standard error."""

from __future__ import annotations

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS = 0.2  # between two looks at the means
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
    TextColumn("{task.fields[means]}"),
)


class ProgressBar(keras.callbacks.Callback):
    """Shows how far the epoch is, and what every epoch came to.

    Where standard error is not a terminal, only the lines of the epochs appear.
    """

    lazy = True  # to read the means is to wait for the step

    def on_train_begin(self, logs: Any = None) -> None:
        """Starts the bar."""
        self._progress = Progress(*COLUMNS, console=Console(stderr=True), transient=True)
        self._bar = self._progress.add_task("", total=self.params["steps"], means="")
        self._progress.start()
        self._told_at = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the bar back."""
        name = f"epoch {epoch + 1}/{self.params['epochs']}"
        self._progress.reset(self._bar, description=name, total=self.params["steps"], means="")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the bar, a few times a second."""
        if self._progress.console.is_terminal and time.monotonic() - self._told_at > SECONDS:
            told = _text(logs, ("loss", "top1"))
            self._progress.update(self._bar, completed=batch + 1, means=told)
            self._told_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prints the line of the epoch."""
        logs = dict(logs or {})
        seconds = logs.pop("seconds", 0.0)
        keys = [key for key in logs if not key.endswith("top5")]
        self._progress.console.print(
            f"epoch {epoch + 1}/{self.params['epochs']}  {_text(logs, keys)}  {seconds:.1f} s",
            highlight=False,
            soft_wrap=True,
        )

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the bar away."""
        self._progress.stop()


def _text(logs: dict[str, float] | None, keys: Any) -> str:
    return "  ".join(f"{key} {logs[key]:.4g}" for key in keys if key in logs) if logs else ""
