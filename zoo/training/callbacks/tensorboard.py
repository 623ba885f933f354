"""Writes what TensorBoard shows: `zoo train NAME --tensorboard`.

TensorFlow 2.21 comes without TensorBoard, and its `tf.summary.scalar` fails where that is missing.
An event file is a file of records, each an `Event`; both are TensorFlow's own. Names are those of
Keras' callback: `epoch_loss` of `train` and of `validation`, by the epoch, and `batch_loss`, the
mean over the epoch so far, by the step.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

SECONDS = 5.0  # between two points of an epoch that is not over: they wait for the step
PATTERN = "*/events.out.tfevents.*"
_VERSION = "brain.Event:2"  # the first record of a file says so
_VALIDATION = "val_"


class TensorBoard(keras.callbacks.Callback):
    """Writes the measures of train and validation, and the learning rate, into event files.

    A resumed run adds files; TensorBoard reads them as one curve.

    Args:
        directory: Gets `train` and `validation`, with a file each.
        replaces: Files of an older run, which are deleted when this one begins.
    """

    lazy = True

    def __init__(self, directory: str | Path, *, replaces: Sequence[Path] = ()):
        super().__init__()
        self._directory, self._replaces = Path(directory), replaces
        self._files: dict[str, Any] = {}
        self._wrote_at = 0.0
        self._epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Makes room; the first point of an epoch that is not over comes a while later."""
        for path in self._replaces:
            path.unlink(missing_ok=True)
        self._wrote_at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch, to count steps by."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes the means so far, once in a while."""
        if time.monotonic() - self._wrote_at < SECONDS:
            return
        step = self._epoch * (self.params["steps"] or 0) + batch + 1
        self._write("train", step, {f"batch_{name}": v for name, v in (logs or {}).items()})
        self._wrote_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes the row of the epoch."""
        logs = logs or {}
        parts = {
            "train": {k: v for k, v in logs.items() if not k.startswith(_VALIDATION)},
            "validation": {
                name.removeprefix(_VALIDATION): value
                for name, value in logs.items()
                if name.startswith(_VALIDATION)
            },
        }
        for part, values in parts.items():
            if values:
                self._write(part, epoch, {f"epoch_{name}": v for name, v in values.items()})

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def _write(self, part: str, step: int, values: Mapping[str, float]) -> None:
        """Writes a point of each curve, so that it can be seen at once."""
        if part not in self._files:
            folder = self._directory / part
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}.v2"
            self._files[part] = tf.io.TFRecordWriter(str(folder / f"events.out.tfevents.{name}"))
            self._add(part, file_version=_VERSION)
        summary = tf.compat.v1.Summary(
            value=[
                tf.compat.v1.Summary.Value(tag=name, simple_value=float(value))
                for name, value in values.items()
            ]
        )
        self._add(part, step=step, summary=summary)
        self._files[part].flush()

    def _add(self, part: str, **event: Any) -> None:
        made = tf.compat.v1.Event(wall_time=time.time(), **event)
        self._files[part].write(made.SerializeToString())


def events(directory: Path) -> list[Path]:
    """Returns the event files that a directory holds already."""
    return sorted(directory.glob(PATTERN))
