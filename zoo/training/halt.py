"""Whether a training is to halt, and why; of several workers all do, at the same step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from zoo.training.signals import StopRequest
from zoo.training.strategy import Machine


class Halt:
    """Why a training is to halt: a callback, Ctrl-C or SIGTERM.

    One process halts as soon as it is asked to. Of several workers each tells in every step, and at
    the end of every epoch, what it was asked; all halt where one was.

    Args:
        machine: Where it runs.
        model: The one whose `stop_training` callbacks set.

    Attributes:
        request: What a signal has asked for.
    """

    def __init__(self, machine: Machine, model: keras.Model):
        self.request = StopRequest()
        self._machine, self._model = machine, model
        self._agreed = np.zeros(3, bool)

    def __bool__(self) -> bool:
        return bool(self._why.any())

    @property
    def asked(self) -> np.ndarray:
        """What this process was asked, (3,): by a callback, by Ctrl-C, by SIGTERM."""
        request, stopped = self.request, bool(self._model.stop_training)
        return np.array([stopped, request.interrupted, request.terminated])

    @property
    def requested(self) -> bool:
        """Whether by a signal: the training is to go on one day."""
        return bool(self._why[1:].any())

    @property
    def terminated(self) -> bool:
        """Whether by SIGTERM: within seconds."""
        return bool(self._why[2])

    def agree(self) -> None:
        """Asks all workers, and waits for them."""
        if self._machine.worker is not None:
            self.heed(self._machine.total(self.asked))

    def heed(self, told: Any) -> None:
        """Takes in how many workers were asked, (3,)."""
        self._agreed = np.asarray(told) > 0

    @property
    def _why(self) -> np.ndarray:
        return self.asked if self._machine.worker is None else self._agreed
