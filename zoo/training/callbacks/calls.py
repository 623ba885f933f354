"""Calls the callbacks of a training, as Keras' `fit` does.

The means of a step are computed when somebody reads them, and a callback without a hook of batches
costs a step nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from zoo.training.history import Means

_BATCHES = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


class Calls:
    """The callbacks of a training, in order.

    A callback that says `lazy = True` gets the means of a step as a mapping that computes them;
    it also makes do with the last step of several that are taken in one call.

    Args:
        callbacks: Those of Keras; `keras.callbacks.CallbackList` is one too.
        model: What they get by `set_model`.
        **params: What they get by `set_params`.

    Attributes:
        failed: Whether a hook of a batch or an epoch raised: what was trained is whole.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, **params: Any
    ):
        self.failed = False
        self._all = list(callbacks)
        self._batches = [one for one in self._all if any(has(one, hook) for hook in _BATCHES)]
        for one in self._all:
            one.set_params({"verbose": 0, **params})
            one.set_model(model)

    @property
    def every_step(self) -> bool:
        """Whether one of them is to see each step."""
        return not all(getattr(one, "lazy", False) for one in self._batches)

    def train_begin(self) -> None:
        """Before the first step."""
        for one in self._all:
            one.on_train_begin({})

    def train_end(self, logs: Mapping[str, float]) -> None:
        """After the last step.

        Args:
            logs: The row of the last epoch.
        """
        for one in self._all:
            one.on_train_end(dict(logs))

    def epoch_begin(self, epoch: int) -> None:
        """Before an epoch, whose number counts from 0."""
        self._call(self._all, "on_epoch_begin", epoch, {})

    def epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """After an epoch, whose number counts from 0, with its row."""
        self._call(self._all, "on_epoch_end", epoch, dict(logs))

    def batch_begin(self, place: int) -> None:
        """Before a step, whose number in its epoch counts from 0."""
        self._call(self._batches, "on_train_batch_begin", place, {})

    def batch_end(self, place: int, means: Means) -> None:
        """After a step, with the means over the epoch so far."""
        if not self._batches:
            return
        plain: dict[str, float] = {}
        for one in self._batches:
            lazy = getattr(one, "lazy", False)
            if not lazy and not plain:
                plain = dict(means)
            logs = means if lazy else dict(plain)
            self._call([one], "on_train_batch_end", place, logs)

    def _call(self, callbacks: Sequence[Any], hook: str, *arguments: Any) -> None:
        try:
            for one in callbacks:
                getattr(one, hook)(*arguments)
        except Exception:
            self.failed = True
            raise


def has(callback: keras.callbacks.Callback, hook: str) -> bool:
    """Whether a callback does something in a hook."""
    own = hook in vars(callback)  # as a `LambdaCallback` has it
    return own or getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
